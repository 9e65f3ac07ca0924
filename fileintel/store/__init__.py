"""All SQL: the only room that opens a database connection. Each function is one transaction of its own."""
