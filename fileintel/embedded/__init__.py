"""Postgres, a Redis-compatible broker and FileIntel's own processes on one machine without set-up."""
