"""Faults on demand: what an operator or a test can do to a running simulator.

Owns one small class a fault; each is reached by ``POST /_simulator/{name}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from common.models import JsonDict
from workers.simulator.site import Site


class Fault(Protocol):
    """Something that goes wrong when told to."""

    @property
    def name(self) -> str:
        """The last part of its path."""

    def happen(self, site: Site, arguments: Mapping[str, str]) -> JsonDict:
        """Do it now.

        :param arguments: of the query or the form. :returns: what was done, for the reply.
        """


class Cut:
    """Closes the sockets of open streams in the middle of a line."""

    name = "cut"

    def happen(self, site: Site, arguments: Mapping[str, str]) -> JsonDict:
        """Cut the streams whose path contains ``path``; without it all of them."""
        part = arguments.get("path", "")
        streams = [stream for stream in site.streams if part in stream.route]
        for stream in streams:
            stream.cut()
        return {"cut": len(streams)}


class Expire:
    """Lets every access token expire."""

    name = "expire"

    def happen(self, site: Site, arguments: Mapping[str, str]) -> JsonDict:
        """Expire them now; open streams go on."""
        del arguments
        return {"expired": site.tokens.expire()}


FAULTS: tuple[Fault, ...] = (Cut(), Expire())
