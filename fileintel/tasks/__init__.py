"""Celery: carries ids between rows of work; what is to be done and what came of it stands in Postgres."""
