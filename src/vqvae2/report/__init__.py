"""The report: one self-contained page of what was measured, for runs and evaluations alike."""

from vqvae2.report.page import REPORT_FILE, render_page, write_page

__all__ = ["REPORT_FILE", "render_page", "write_page"]
