"""Drawings of a graph as Mermaid text, SVG and PNG."""
