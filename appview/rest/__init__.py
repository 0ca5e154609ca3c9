"""The REST interface of the plyr.fm frontend: JSON in, JSON out, failures as `{"detail": …}`."""
