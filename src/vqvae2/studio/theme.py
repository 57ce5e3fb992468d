"""How the page looks. It loads nothing from elsewhere: its fonts are the visitor's own."""

from __future__ import annotations

import gradio as gr

from vqvae2.report.style import DARK_COLORS, LIGHT_COLORS, PARTS

__all__ = ["CSS", "studio_theme"]

_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Liberation Sans", "sans-serif")
_MONO_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


def studio_theme() -> gr.themes.Base:
    """Make a sober theme without web fonts."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_sm,
        font=tuple(gr.themes.Font(name) for name in _FONTS),
        font_mono=tuple(gr.themes.Font(name) for name in _MONO_FONTS),
    ).set(
        block_label_text_weight="600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_text_color="white",
    )


CSS = f"""
.gradio-container {{ width: 100% !important; max-width: 1320px !important; margin: 0 auto !important; }}
.intro p {{ font-size: 1.05rem; max-width: 62rem; line-height: 1.5; }}
.pixels img {{ image-rendering: pixelated; }}
footer {{ display: none !important; }}

[id$="-examples"] .grid-wrap {{ height: auto; min-height: 0; max-height: none; padding-top: 0; }}
[id$="-examples"] .thumbnail-item {{ height: auto; aspect-ratio: 1; }}
[id$="-examples"] .grid-container {{
  grid-template-columns: repeat(4, minmax(0, 1fr)) !important; grid-auto-rows: min-content; gap: 6px;
}}
[id$="-examples"] .caption-label {{ display: none; }}
[id$="-examples"] label {{ position: static; border: 0; box-shadow: none; }}

.report-part {{ {LIGHT_COLORS} color: var(--ink); font-size: 15px; line-height: 1.5; }}
.dark .report-part {{ {DARK_COLORS} }}
.report-part {{ {PARTS}
.row img, .samples img {{ outline: 1px solid var(--line); }}
.row {{ display: flex; flex-wrap: wrap; gap: 20px 24px; align-items: flex-start; }}
.row .samples {{ flex: 1; min-width: 300px; gap: 8px; }}
.row figcaption {{ max-width: 260px; }}
.row figcaption small {{ display: block; color: var(--muted); line-height: 1.4; }}
.row .note {{ margin: 0; }}
.row.large > div {{ flex: 1 1 190px; max-width: 420px; }}
.row.large img {{ width: 100%; height: auto; image-rendering: auto; }}
.note {{ color: var(--muted); font-size: 14px; max-width: 88ch; }}
.bar {{ height: 10px; min-width: 2px; border-radius: 2px; background: var(--train); }}
.bar.ours {{ background: var(--level-0); }}
.bars td:last-child {{ width: 40%; min-width: 120px; }}
}}
"""
"""Small pictures are enlarged pixel by pixel inside the class `pixels`. Example galleries show all their images, with
no label over them. Inside `report-part`, the report's own style applies."""
