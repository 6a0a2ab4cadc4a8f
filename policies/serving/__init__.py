"""Worlds over the wire: sessions that step together, an API that is documented, and a guard at the door."""
