"""Proxies that the environment names: those that cannot be used, and whether one may have answered."""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

VARIABLES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")

HEADERS = ("Via", "Proxy-Status", "Proxy-Authenticate", "Proxy-Connection", "X-Squid-Error")
"""Headers that proxies write and servers do not."""


def unusable_proxy() -> str | None:
    """One sentence for a proxy of the environment that no client can be set up with; None where there is no proxy.

    No address is named: it may hold a password.
    """
    addresses = {name: os.environ.get(name) or os.environ.get(name.lower(), "") for name in VARIABLES}
    socks = [name for name, address in addresses.items() if address.lower().startswith("socks")]
    if socks:
        return (
            f"{' and '.join(socks)} names a SOCKS proxy, which needs `pip install 'httpx2[socks]'`: install it, or "
            "unset the variable"
        )
    named = [name for name, address in addresses.items() if address]
    if named:
        return f"{' or '.join(named)} is not a valid address of a proxy: expected http://HOST:PORT; correct or unset it"
    return None


def names_proxy(url: str) -> bool:
    """Whether the environment sends requests for this address through a proxy."""
    address, proxies = urlsplit(url), getproxies()
    return (address.scheme in proxies or "all" in proxies) and not proxy_bypass(address.netloc)


def proxy_note(url: str, headers: Mapping[str, str], body: bytes = b"") -> str:
    """What to add to a failure's message where a proxy answered in the server's place, or may have; else nothing.

    Args:
        body: of the answer; a web page is what proxies send, and no such server.
    """
    header = next((name for name in HEADERS if name in headers), None)
    remedy = ": list the server's host in NO_PROXY, or see to the proxy" if names_proxy(url) else ""
    if header is not None:
        return f" (a proxy answered or passed this on, by its header {header}{remedy})"
    if body.lstrip()[:9].lower().startswith((b"<html", b"<!doctype")):
        return (
            f" (a web page: a proxy or another kind of server answered{remedy or ': correct `url`, or see NO_PROXY'})"
        )
    return f" (a proxy may have answered, since the environment names one{remedy})" if remedy else ""
