"""Errors that are the user's to mend."""

from __future__ import annotations


class HeadstartError(Exception):
    """A question that cannot be answered as it was asked.

    The message is one or two lines: what happened, to which file or option, and what to do.
    The command line prints it without a traceback and exits with code 2.
    """
