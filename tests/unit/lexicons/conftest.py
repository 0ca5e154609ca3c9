"""Properties here are about answers, not about time: a busy machine must not fail them."""

from hypothesis import settings

settings.register_profile("lexicons", deadline=None)
settings.load_profile("lexicons")
