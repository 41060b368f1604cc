"""What starts Feedloop and what it is started with."""

SERVICES = ("ingest", "inference", "classifier", "retriever", "feedback", "trainer")
