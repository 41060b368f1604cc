"""Takes corrections, serves the page, and shows the loop's state. Its views are made of the topics, in memory, at each start."""
