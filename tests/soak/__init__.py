"""Many small worlds that go wrong on a seed, plyr reading them while it is killed, and what must be left."""
