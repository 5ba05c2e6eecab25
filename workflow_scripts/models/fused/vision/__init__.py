"""SigLIP's tower on a GPU, in few passes over memory."""
