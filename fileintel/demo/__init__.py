"""The demonstration case: a made-up inquiry, its documents, and the questions whose answers are known."""
