"""Pages that hold all they show."""

from zoo.report.page.pages import comparison_page, run_page

__all__ = ["comparison_page", "run_page"]
