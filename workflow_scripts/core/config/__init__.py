"""The configuration as frozen pydantic models, one module a section; a step imports only the section it needs."""
