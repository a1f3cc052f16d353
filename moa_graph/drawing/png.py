"""Convert SVG to PNG without a browser or a service."""

SCALE = 2


def render_png(drawing: str) -> bytes:
    """Render a drawing with a bundled font: a fresh machine may have none.

    Raises:
        ImportError: If the extra `report` is not installed.
    """
    try:
        from font_roboto import font_files
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise ImportError(
            f"PNG needs the package {error.name}: pip install 'moa_graph[report]'"
        ) from None
    return bytes(
        svg_to_bytes(
            svg_string=drawing,
            background="white",
            zoom=SCALE,
            font_family="Roboto",
            sans_serif_family="Roboto",
            font_files=[font_files["Roboto"], font_files["RobotoBold"]],
        )
    )
