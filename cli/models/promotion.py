"""What changes what is live: promotion."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.console import Out
from cli.models.app import AsJson, Tag, Why, models, usecase_of
from cli.workspace import Workspace


@models.command("promote")
def promote_command(
    tag: Tag,
    why: Why = "",
    force: Annotated[bool, typer.Option("--force", help="Although the gate refuses; needs --why.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a model the champion, if the gate lets it pass beside the one that is; a refusal tells every reason."""
    from cli.promotion import PromotionRefused, promote, told  # late, with scikit-learn

    workspace = Workspace.open(usecase_of(tag))
    out, exact = Out(as_json), workspace.registry.resolve(tag)
    promotion = promote(workspace, exact, why=why, force=force)
    for check in promotion.judged.checks if promotion.judged else []:
        out.proved("passed" if check["passed"] else "NOT PASSED", check["said"])
    out.result(promotion.result())
    if promotion.judged and promotion.outcome == "refused":
        remedy = (
            "With --force --why '...' it would be, and the journal would have that too"
            if promotion.judged.loads
            else "What does not load cannot be forced"
        )
        raise PromotionRefused(
            f"{exact} is not promoted ({promotion.judged.failed}), as the lines above say; the journal has it. {remedy}"
        )
    out.proved("promote", told(promotion))
