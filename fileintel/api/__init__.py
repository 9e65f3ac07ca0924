"""FileIntel's HTTP interface: translates requests, delegates to `store` and rings `tasks`."""
