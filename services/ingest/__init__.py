"""Ingest: feeds, mailboxes and pushed texts in, clean documents out. Reading outward: readers/ fetch, the pure modules parse, intake publishes."""
