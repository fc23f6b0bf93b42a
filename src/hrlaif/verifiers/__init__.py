"""Rule verifiers: does a response's final answer equal the reference? What cannot be read is UNREADABLE."""

from hrlaif.verifiers.calibrate import calibrate
from hrlaif.verifiers.choice import verify_choice
from hrlaif.verifiers.dispatch import verify, verify_many
from hrlaif.verifiers.math import verify_math
from hrlaif.verifiers.short import verify_short

__all__ = ["calibrate", "verify", "verify_choice", "verify_many", "verify_math", "verify_short"]
