"""Drawings of a graph: mermaid text, SVG and PNG."""
