"""The report: one self-contained HTML page that shows what was trained, how well it ranks, and what it designs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from recgan.atomic import atomic_file, check_place
from recgan.config import DesignSettings, EmbedSettings, SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.design import Design, Designer, load_designer
from recgan.errors import MismatchError
from recgan.evaluation.pages import render_page
from recgan.evaluation.ranking import evaluate_ranking
from recgan.evaluation.ranking.report import RankingReport
from recgan.evaluation.report.page import page_contents
from recgan.evaluation.showcase import design_for_shown, draw_users
from recgan.progress import Progress, quiet

__all__ = ["make_report", "write_report"]


def make_report(
    bundle: Bundle | str | Path,
    recommender: str | Path,
    gan: str | Path,
    out: str | Path,
    *,
    models: Sequence[str] = ("popularity", "visual_knn"),
    users: int = 6,
    designs_per_user: int = 4,
    settings: DesignSettings | None = None,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = quiet,
) -> Path:
    """Judge a saved recommender beside others, design for drawn users, and write the page.

    Args:
        bundle: the one that both were trained on.
        recommender: folder of a visual recommender, trained on a split that holds a test part out.
        gan: folder of a GAN.
        out: the HTML file.
        models: what the ranking table compares with the recommender; trained here on its split.
        users, designs_per_user: how many are drawn by the seed, and how many designs each gets.
        settings: how to design.
        seed: of everything random.
        device: cpu, cuda, …
        overwrite: whether ``out`` may exist.

    Raises:
        ArtifactError: ``out`` exists; an artifact is missing or damaged.
        StorageError: ``out`` cannot be written (told before the work).
        MismatchError: they are not of one catalogue; the recommender was trained on what is judged.
        SettingsError, DataError, TrainingError: as `evaluate_ranking` and `Designer.design`.
    """
    check_place(out, overwrite=overwrite, file=True)
    bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    designer = load_designer(recommender, gan, bundle=bundle, device=device, progress=progress)
    model = designer.recommender
    ranking = evaluate_ranking(
        bundle,
        [*models, Path(recommender)],
        split=SplitSettings(**model.facts["split"]),
        # A model that learned to see has an encoder that only it can look through.
        embed=EmbedSettings(size=model.size, **({} if model.end_to_end else {"encoder": model.encoder_name})),
        seed=seed,
        device=device,
        progress=progress,
    )
    shown = draw_users(designer, users, seed=seed)
    designs = design_for_shown(designer, shown, designs_per_user, seed=seed, settings=settings, progress=progress)
    return write_report(bundle, designer, out, ranking=ranking, designs=designs, seed=seed, overwrite=overwrite)


def write_report(
    bundle: Bundle,
    designer: Designer,
    out: str | Path,
    *,
    ranking: RankingReport,
    designs: Mapping[str, Sequence[Design]],
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write the page from what was measured and designed already; the same inputs give the same bytes.

    Args:
        bundle: the one that recommender and GAN were trained on.
        designer: of the recommender and the GAN that are shown.
        out: the HTML file; its folder is made.
        ranking: the models' figures.
        designs: by user id, for one category each (`recgan.evaluation.showcase`).
        seed: of the samples of the generator's sheet and of the real items beside them.
        overwrite: whether ``out`` may exist.

    Raises:
        ArtifactError: ``out`` exists.
        MismatchError: bundle and designer are of different catalogues.
        StorageError: it cannot be written.
    """
    out = Path(out)
    check_place(out, overwrite=overwrite, file=True)
    designer.recommender.check_fits(bundle)
    if len(designer.recommender.items) != len(bundle.items):
        raise MismatchError(f"the recommender has items that bundle '{bundle.path}' has not; train it on this bundle")
    content = page_contents(bundle, designer, ranking, designs, seed)
    with atomic_file(out) as building:
        building.write_text(render_page("report.html", style="report.css", **content), encoding="utf-8")
    return out
