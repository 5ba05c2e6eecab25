"""Small tables of explanation maps for tests of pages."""

from pathlib import Path

from workflow_scripts.core.rows import Row
from workflow_scripts.core.saliency.grids import TokenGrid
from workflow_scripts.core.saliency.rows import SaliencyFact, SaliencyMap
from workflow_scripts.core.tables import write_rows
from workflow_scripts.saliency.table import write_table


def write_maps(folder: Path, row: Row, explained: str = "17", values=(4.0, -2.0, 0.0, 0.0)) -> dict:
    """Maps and facts of one row by occlusion; gives the arguments of `write_page` for them."""
    place = folder / "why"
    place.mkdir(parents=True)
    maps, facts = place / "maps.parquet", place / "facts.parquet"
    rows = []
    for number, image in enumerate(row.images):
        grid = TokenGrid(2, 2, 0.0, 0.0, float(image.width), float(image.height))
        for weights, of_tokens in (("own", values), ("randomised", values[::-1])):
            shared = (row.uid, "a", "occlusion", weights, number, image.width, image.height)
            rows.append(SaliencyMap(*shared, (grid,), tuple(of_tokens), explained))
    write_rows(maps, rows, SaliencyMap)
    measures = [
        *(("occlusion", weights, measure, value) for weights, value in (("own", 0.75), ("randomised", 0.5))
          for measure in ("deletion_auc", "insertion_auc", "pointing_game", "mass_in_box")),
        ("", "centred", "deletion_auc", 0.4),
        ("", "centred", "insertion_auc", 0.8),
        ("occlusion", "own", "rank_correlation", 0.9),
        ("", "", "box_area", 0.25),
        ("", "", "pointing_chance", 0.25),
        ("", "own", "changed_box", 1.0),
        ("", "own", "changed_box_random", 0.5),
    ]  # fmt: skip
    table = [SaliencyFact(row.uid, row.case_id, "a", *measure) for measure in measures]
    write_rows(facts, table, SaliencyFact)
    values_file = folder / "values.parquet"
    write_table(names=["why"], facts=[facts], table=values_file, csv=folder / "values.csv")
    return {"saliency": values_file, "saliency_maps": [maps], "saliency_facts": [facts]}
