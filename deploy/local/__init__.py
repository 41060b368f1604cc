"""What makes Feedloop run whole on one machine without Docker: a broker, an engine, the services, and the folder they keep their state in."""
