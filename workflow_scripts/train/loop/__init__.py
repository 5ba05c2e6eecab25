"""The training loop: TRL's trainer on stored features."""
