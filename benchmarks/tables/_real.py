"""Tables of benchmarks.real."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, significant

_RESULTS = Path(__file__).parents[1] / "real" / "results"
METHODS = ("regular", "tied, full orbits", "tied", "orbit")
_POOLED = METHODS[1:]
_SHAPES = ((64, 8), (1024, 8), (256, 16))  # numbers of latents and k
_LATENTS = {"atoms": 128, "sounds": 240}  # of others than the usual 256


def vision() -> str:
    """FVU of every method on layers of EfficientNet-Lite0, 256 latents, k = 8."""
    return _of_maps("vision")


def labels() -> str:
    """How many latents, or latent orbits, hold a share of what is explained."""
    lines = []
    for key, rows in _main(_RESULTS / "vision.csv").groupby(
        ["layer", "symmetry"], sort=False
    ):
        means = rows.groupby("method")[["things_90%", "things_99%"]].mean()
        cells = [
            f"{means.loc[m, 'things_90%']:.0f} / {means.loc[m, 'things_99%']:.0f}"
            for m in METHODS
            if m in means.index
        ]
        lines.append([", ".join(key), *cells])
    return markdown(["90 % / 99 % of what is explained", *METHODS], lines)


def claims() -> str:
    """What was claimed of latent orbits, and what was found."""
    vision, small, sounds, atoms = map(_above, ("vision", "small", "sounds", "atoms"))
    middle = vision.loc[["block 2", "block 4", "block 7"]]
    late, hidden = vision.loc[["block 10", "block 14"]], vision.loc["block 1, hidden"]
    law = pd.read_csv(_RESULTS / "law.csv")
    r2 = law[law.part == "small"].r2
    tied = law[law.method == "tied"]
    level = tied[tied.left_by_m <= 1].ratio - 1
    moves = tied[tied.part == "vision"].code_equivariance
    lines = [
        (
            "Orbits of every length cost nothing on blocks 2 to 7",
            "holds",
            f"{_span(middle.tied)} in FVU, orbits of one length "
            f"{_span(middle['tied, full orbits'])}",
        ),
        (
            "`GroupTiedSAE` is within 3 % of a regular one",
            "holds only behind block 1",
            f"hidden channels of block 1 {_span(hidden.tied)}, "
            f"blocks 10 and 14 {_span(late.tied)}",
        ),
        (
            "`OrbitSAE` is at most 5 % above everywhere",
            "holds but for shapes, atoms and shifted sounds",
            f"blocks {_span(vision.orbit)}, our own networks {_span(small.orbit)}, "
            f"sounds {_span(sounds.orbit)}, atoms {_span(atoms.orbit)}",
        ),
        (
            "The same holds with 64 and 1,024 latents and with k = 16",
            "holds but for what has not converged",
            _other_sizes(),
        ),
        (
            "There is half as much to look at",
            "holds only where orbits are long",
            _looked_at(("block 4", "C4"), ("block 14", "mirror")),
        ),
        (
            "An exact dictionary wins where M is good",
            "does not hold",
            f"our own networks, R2 {r2.min():.2f} to {r2.max():.2f}: "
            f"{_span(small.tied)}",
        ),
        (
            "It is level or ahead where 1 - R2 of M is no larger than the regular FVU",
            f"holds to {level.max():.0%}".replace("%", " %"),
            f"{len(level)} cases, {_span(level)}",
        ),
        (
            "Tied codes move exactly with the inputs",
            "holds only where the network follows",
            f"code equivariance on held-out inputs {moves.min():.2f} to "
            f"{moves.max():.2f} on EfficientNet (under M it is 1)",
        ),
        *_claims_of_probes(),
        (
            "Autoencoders find the Fourier features of addition",
            "does not hold",
            _of_one_frequency(),
        ),
    ]
    return markdown(["claim", "", "figure"], lines)


def _claims_of_probes() -> list[tuple[str, str, str]]:
    agreement = _probes().pivot_table(
        index="layer", columns="method", values="agreement", sort=False
    )
    same = ", ".join(
        f"{layer} {row['tied']:.0%} (regular {row['regular']:.0%})"
        for layer, row in agreement.iterrows()
    ).replace("%", " %")
    few, more = (
        ", ".join(f"{name} {_pooled_ahead(name, n)}" for name in _POOLED)
        for n in (1, 8)
    )
    return [
        (
            "The network does the same with a tied reconstruction as a regular one",
            "holds at block 4 only",
            f"classes that stay, under both symmetries: {same}",
        ),
        (
            "Pooled latents tell the class better than regular ones",
            "holds only for more than two, by little",
            f"area under the curve above regular with 8: {more}; with 1: {few}",
        ),
    ]


def _pooled_ahead(method: str, n: int) -> str:
    """By how much pooled latents are ahead, with the standard error over pairs."""
    table = _probes().set_index(["layer", "symmetry", "seed"])
    pooled = table[table.method == method][f"class_pooled_{n}"]
    ahead = pooled - table[table.method == "regular"][f"class_{n}"]
    return f"{ahead.mean():+.3f} ± {ahead.sem():.3f}"


def _of_one_frequency() -> str:
    found = pd.read_csv(_RESULTS / "modular.csv")
    found = found.groupby(["layer", "p", "method"]).one_frequency.mean()
    units = pd.read_csv(_RESULTS / "modular_matrix.csv")
    units = units[units.layer != "head"].groupby(["layer", "p"]).one_frequency.mean()
    return (
        f"{found.min():.2f} to {found.max():.2f} of a latent's moves in one "
        f"frequency, of a unit's {units.min():.2f} to {units.max():.2f} (means over "
        "networks)"
    )


def _looked_at(*places: tuple[str, str]) -> str:
    """Orbits of the tied one for latents of the regular one."""
    table = _main(_RESULTS / "vision.csv")
    means = table.groupby(["layer", "symmetry", "method"])["things_90%"].mean()
    found = (
        f"{', '.join(place)}: {means[(*place, 'orbit')]:.0f} orbits for "
        f"{means[(*place, 'regular')]:.0f} latents"
        for place in places
    )
    return "; ".join(found) + " (90 % of what is explained)"


def _other_sizes() -> str:
    """By how much methods are above regular ones of other sizes and k."""
    law = pd.read_csv(_RESULTS / "law.csv").query("part == 'vision'")
    law = law[
        ((law.n_latents != 256) | (law.k != 8)) & ~law.network.str.match("block 1,")
    ]
    spans = [f"{m} {_span(law[law.method == m].ratio - 1)}" for m in METHODS[2:]]
    fvu = pd.read_csv(_RESULTS / "vision_long.csv").pivot_table(
        index="symmetry", columns="method", values="fvu"
    )
    longer = [f"{m} {_span(fvu[m] / fvu.regular - 1)}" for m in METHODS[2:]]
    return (
        f"blocks 2 to 14: {', '.join(spans)}; block 2 with k = 16 after three times "
        f"the steps: {', '.join(longer)}"
    )


def _above(name: str) -> pd.DataFrame:
    """By how much methods are above a regular one, by layer or network."""
    law = pd.read_csv(_RESULTS / "law.csv")
    law = law[(law.part == name) & (law.n_latents == _LATENTS.get(name, 256))]
    wide = law[law.k == 8].pivot(index="network", columns="method", values="ratio") - 1
    wide.index = wide.index.str.rsplit(", ", n=int(name == "vision")).str[0]
    return wide


def _span(values: pd.Series) -> str:
    return f"{values.min():+.0%} to {values.max():+.0%}".replace("%", " %")


def _main(path: Path, n_latents: int = 256) -> pd.DataFrame:
    table = _whole(pd.read_csv(path))
    return table[(table.n_latents == n_latents) & (table.k == 8)]


def by_method(
    folder: Path,
    name: str,
    by: list[str],
    *,
    spread: bool = False,
    n_latents: int = 256,
) -> str:
    """FVU of every method, and by how much (± over seeds) it is above regular."""
    table, lines = _main(folder / f"{name}.csv", n_latents), []
    r2 = pd.read_csv(folder / f"{name}_matrix.csv").groupby(by).r2.mean()
    for key, rows in table.groupby(by, sort=False):
        found = r2[key if len(by) > 1 else key[0]]
        n_seeds = str(rows.seed.nunique())
        lines.append(
            [", ".join(key), n_seeds, f"{found:.2f}", *_beside_regular(rows, spread)]
        )
    head = ["", "seeds", "R2 of M", "regular FVU", *METHODS[1:]]
    return markdown(head, lines)


def _beside_regular(rows: pd.DataFrame, spread: bool = False) -> list[str]:
    """FVU of a regular one, and by how much others are above it."""
    fvu = rows.pivot(index="seed", columns="method", values="fvu")
    moves = rows.groupby("method").code_equivariance.mean()
    cells = [significant(fvu["regular"].mean())]
    for method in METHODS[1:]:
        above = f"{fvu[method].mean() / fvu['regular'].mean() - 1:+.0%}"
        if spread and len(fvu) > 1:
            above += f"\u00a0±\u00a0{(fvu[method] / fvu['regular']).std():.1%}"
        cells.append(f"{above} ({moves[method]:.2f})")
    return cells


def shapes() -> str:
    """Other numbers of latents and other k."""
    table, lines = _whole(pd.read_csv(_RESULTS / "vision.csv")), []
    table = table.set_index(["n_latents", "k"]).sort_index()
    for key, rows in table.groupby(["layer", "symmetry"], sort=False):
        n_seeds = min(rows.loc[shape].seed.nunique() for shape in _SHAPES)
        cells = [_regular_tied_orbit(rows.loc[shape]) for shape in _SHAPES]
        lines.append([", ".join(key), str(n_seeds), *cells])
    heads = [f"{n:,} latents, k = {k}" for n, k in _SHAPES]
    return markdown(["regular FVU; tied, orbit", "seeds", *heads], lines)


def _regular_tied_orbit(rows: pd.DataFrame) -> str:
    regular, _, tied, orbit = _beside_regular(rows)
    return f"{regular}; {tied.split(' (')[0]}, {orbit.split(' (')[0]}"


def longer() -> str:
    """Three times as many steps where the usual ones are too few."""
    lines = []
    for name in ("vision", "vision_long"):
        table = _whole(pd.read_csv(_RESULTS / f"{name}.csv"))
        table = table[(table.layer == "block 2") & (table.k == 16)]
        for (symmetry, n_steps), rows in table.groupby(["symmetry", "n_steps"]):
            n_seeds = str(rows.seed.nunique())
            lines.append([symmetry, f"{n_steps:,}", n_seeds, *_beside_regular(rows)])
    return markdown(["", "steps", "seeds", "regular FVU", *METHODS[1:]], sorted(lines))


def _probes() -> pd.DataFrame:
    return _whole(pd.read_csv(_RESULTS / "probes.csv"))


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of cases that have been tried with all methods."""
    names = ["network", "layer", "symmetry", "n_latents", "k", "seed"]
    case = [name for name in names if name in table]
    n_methods = table.groupby(case, dropna=False).method.transform("nunique")
    return table[n_methods == len(METHODS)]


def splices() -> str:
    """How often the network names the same class with a reconstruction in place."""
    table, lines = _probes(), []
    for key, rows in table.groupby(["layer", "symmetry"], sort=False):
        by = rows.groupby("method")
        cells = [f"{by.agreement.mean()[m]:.0%}" for m in METHODS]
        mean = f"{rows.agreement_of_mean.mean():.0%}"
        lines.append([", ".join(key), str(rows.seed.nunique()), *cells, mean])
    return markdown(["", "seeds", *METHODS, "mean in place"], lines)


def classes() -> str:
    """Probes for groups of classes, by what they read."""
    return _probed("class")


def edges() -> str:
    """Probes for the direction of the edge at a site, by what they read."""
    return _probed("edge")


def _probed(question: str) -> str:
    """Mean area under the curve, with 1 / 2 / 4 / 8 latents."""
    table, lines = _probes(), []
    read = [(method, suffix) for suffix in ("", "_pooled") for method in METHODS]
    read.remove(("regular", "_pooled"))
    for key, rows in table.groupby(["layer", "symmetry"], sort=False):
        means = rows.groupby("method").mean(numeric_only=True)
        cells = [
            " / ".join(f"{means.loc[m, f'{question}{end}_{n}']:.2f}" for n in (1, 8))
            for m, end in read
        ]
        lines.append([", ".join(key), *cells])
    names = [method + end.replace("_", ", ") for method, end in read]
    return markdown(["1 / 8 latents", *names], lines)


def rule() -> str:
    """How far a tied dictionary is behind, by what M leaves over the regular FVU."""
    table, lines = pd.read_csv(_RESULTS / "law.csv"), []
    table = table[table.method == "tied"]
    bins = [float("-inf"), 1, 2, 4, 8, float("inf")]
    for part, rows in table.groupby(pd.cut(table.left_by_m, bins), observed=True):
        above = rows.ratio - 1
        name = f"{part.left:g} to {part.right:g}"
        name = name.replace("-inf", "0").replace(" to inf", " and more")
        cells = [f"{v:+.0%}" for v in (above.min(), above.median(), above.max())]
        lines.append([name, str(len(rows)), *cells])
    head = ["(1 - R2 of M) / regular FVU", "cases", "least", "median", "most"]
    return markdown(head, lines)


def scan() -> str:
    """R2 of M by layer and symmetry, of M = I, and which are not aligned."""
    table = pd.read_csv(_RESULTS / "scan.csv")
    star = table.aligned.map({True: "", False: "*"})
    shown = (
        table.r2.map("{:.2f}".format) + star + table.r2_identity.map(" / {:.2f}".format)
    )
    keys = ["layer", "weights"]
    wide = table.assign(shown=shown).pivot(
        index=keys, columns="symmetry", values="shown"
    )
    depth = {layer: i for i, layer in enumerate(table.layer.unique())}
    places = (
        table[keys]
        .drop_duplicates()
        .sort_values(
            keys, key=lambda names: names.map(depth | {"trained": 0, "random": 1})
        )
    )
    order = pd.MultiIndex.from_frame(places)
    wide = wide.loc[order, table.symmetry.unique()].fillna("")
    lines = [[*key, *row] for key, row in zip(wide.index, wide.to_numpy(), strict=True)]
    return markdown([*keys, *wide.columns], lines)


def modular() -> str:
    """What autoencoders find in transformers that add."""
    table, lines = pd.read_csv(_RESULTS / "modular.csv"), []
    units = pd.read_csv(_RESULTS / "modular_matrix.csv").groupby(["layer", "p"])
    for key, rows in table.groupby(["layer", "p"], sort=False):
        by = rows.groupby("method")
        fvu, found = by.fvu.mean(), by.one_frequency.mean()
        cells = [f"{significant(fvu[m], 2)} ({found[m]:.2f})" for m in METHODS]
        unit = f"{units.one_frequency.mean()[key]:.2f}"
        lines.append([key[0], str(key[1]), str(rows.seed.nunique()), unit, *cells])
    return markdown(["layer", "p", "seeds", "units", *METHODS], lines)


def additions() -> str:
    """The transformers themselves."""
    table, lines = pd.read_csv(_RESULTS / "modular_matrix.csv"), []
    for (layer, p), rows in table.groupby(["layer", "p"], sort=False):
        ranges = [
            _range(rows[column], digits)
            for column, digits in (("accuracy", 2), ("r2", 2), ("n_frequencies_90", 0))
        ]
        error = f"{rows.fft_error.max():.0e}"
        lines.append([layer, str(p), str(rows.seed.nunique()), *ranges, error])
    head = ["layer", "p", "seeds", "accuracy", "R2 of M", "frequencies for 90 %"]
    return markdown([*head, "error of the spectrum"], lines)


def _range(values: pd.Series, digits: int) -> str:
    ends = [f"{v:.{digits}f}" for v in (values.min(), values.max())]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def molecules() -> str:
    """What CHGNet leaves alone, and what it permutes."""
    table = pd.read_csv(_RESULTS / "molecules.csv")
    lines = [
        [
            *(row.layer, row.symmetry, f"{row.r2:.3f}", f"{row.r2_identity:.3f}"),
            "" if pd.isna(row.error_of_swap) else f"{row.error_of_swap:.0e}",
        ]
        for row in table.itertuples(index=False)
    ]
    head = ["layer", "symmetry", "R2 of M", "R2 of M = I", "error of the swap's matrix"]
    return markdown(head, lines)


def _of_maps(name: str) -> str:
    by, n = ["layer", "symmetry"], _LATENTS.get(name, 256)
    return by_method(_RESULTS, name, by, spread=True, n_latents=n)


def atoms() -> str:
    """Autoencoders of CHGNet."""
    return _of_maps("atoms")


def sounds() -> str:
    """Autoencoders of CREPE."""
    return _of_maps("sounds")


def audio() -> str:
    """What CREPE makes of transposition and of shifts in time."""
    table = pd.read_csv(_RESULTS / "audio.csv")
    lines = [
        [row.layer, row.symmetry, f"{row.r2:.2f}", f"{row.r2_identity:.2f}"]
        for row in table.itertuples(index=False)
    ]
    return markdown(["layer", "symmetry", "R2 of M", "R2 of M = I"], lines)
