"""Every error that hrlaif raises on purpose, and what the caller should do about it.

    HrlaifError                 base: catch this to catch them all
    ├── ConfigError             the configuration or a command-line option is wrong     exit code 2
    ├── DataError               a record or a file cannot be used                       exit code 2
    ├── ModelError              a model or an endpoint did not do its work              exit code 2
    │   ├── BudgetError         the money set aside for calls is spent; raise it to continue
    │   ├── CallError           one call failed for good: it costs its own record only, never the run
    │   └── LostError           another process of the same training is gone; checkpoints are kept
    └── GateError               a quality gate or a check failed; the run is intact     exit code 1

A message says what is wrong, in which record or file, the value seen, and what to do.
"""

from __future__ import annotations


class HrlaifError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns for it."""

    exit_code = 2


class ConfigError(HrlaifError):
    """The configuration is wrong; the message lists every problem with its key."""


class DataError(HrlaifError):
    """A record or a file cannot be used; the message names it."""


class ModelError(HrlaifError):
    """A model or an endpoint cannot be reached, loaded or trusted."""


class BudgetError(ModelError):
    """The budget for paid calls is spent; everything paid for is kept, and the run continues with a larger one."""


class CallError(ModelError):
    """One model call failed for good, after its retries. Stages count it and go on."""


class LostError(ModelError):
    """Another process of the same training died or cannot be reached; what it died of is its own to say."""


class GateError(HrlaifError):
    """A quality gate failed: the numbers are there, and they are not good enough to go on."""

    exit_code = 1
