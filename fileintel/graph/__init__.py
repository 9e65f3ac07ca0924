"""The pure stages of building a graph: documents' text in, entities, relationships, communities and reports out."""
