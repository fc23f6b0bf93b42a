"""Questions to a judge: comparisons, answer checks, satisfaction, harm; and how good the judge is at them."""
