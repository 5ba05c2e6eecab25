"""The order of identities: numbers by value, then names."""


def identity_order(identity: str) -> tuple[int, str]:
    """Sort key of an identity."""
    return (int(identity), "") if identity.isascii() and identity.isdigit() else (10**9, identity)
