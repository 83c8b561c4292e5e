"""The tables of what quantization costs: quality, time to quantize, speed."""

from collections.abc import Sequence

from benchmarks.common.result_files import Row, line, source_line


def quality_table(rows: Sequence[Row]) -> str:
    """What each system's quantization costs in fidelity, on the same tokens."""
    head = ["model", "system", "MB", "perplexity increase", "KL, nats", "top-1"]
    pairs = ["BLiMP"] if any("blimp" in row for row in rows) else []
    lines = [line([*head, *pairs]), line(["---", "---", *["---:"] * len([*head[2:], *pairs])])]
    for row in rows:
        twin = ", outlier twin" if row["outliers"] == "twin" else ""
        lines.append(
            line(
                [
                    row["model"] + twin,
                    row["system"],
                    f"{row['bytes'] / 1e6:.2f}",
                    f"{row['increase']:+.3%} ± {row['increase_se']:.3%}",
                    f"{row['kl']:.6f} ± {row['kl_se']:.6f}",
                    f"{row['top1']:.2%}",
                    *(_share(row, "blimp") for _ in pairs),
                ]
            )
        )
    first = {(row["model"], row["outliers"]): row for row in rows}
    facts = "; ".join(
        f"{model}: {row['tokens']:,} tokens in windows of {row['context']}, perplexity "
        f"{row['perplexity_fp32']:.3f} in float32"
        + (
            f", {row['blimp_pairs']:,} pairs of BLiMP, {row['blimp_fp32']:.1%} in float32"
            if "blimp" in row
            else ""
        )
        for (model, outliers), row in first.items()
        if outliers == "plain"
    )
    peers = sorted(
        {f"{name} {found}" for row in rows for name, found in row.get("peer_versions", {}).items()}
    )
    note = (
        "MB are those of graph and weights. The increase is paired, token by token; ± is one "
        f"standard error; in brackets the difference from float32, paired. {facts}."
    )
    note += f" Peers: {', '.join(peers)}." if peers else ""
    runs = {(row["command"], row["git_commit"]): row for row in rows}
    return "\n\n".join([note, "\n".join(lines), *map(source_line, runs.values())])


def _share(row: Row, name: str) -> str:
    """A share of right answers, and its paired difference from float32."""
    if name not in row:
        return ""
    value, error, change, change_error = (
        row[name + suffix] for suffix in ("", "_se", "_change", "_change_se")
    )
    return f"{value:.1%} ± {error:.1%} ({change:+.1%} ± {change_error:.1%})"


def quality_solvers_table(rows: Sequence[Row]) -> str:
    """What each system's quantization costs the solvers, plain and with outliers."""
    columns = ["perplexity increase", "KL, nats", "solved"]
    head = ["model", "system", "MB", *columns, *(f"{name}, twin" for name in columns)]
    lines = [line(head), line(["---", "---", *["---:"] * 7])]
    cells = {(row["model"], row["system"], row["outliers"]): row for row in rows}
    for model, system in dict.fromkeys((row["model"], row["system"]) for row in rows):
        pair = [cells.get((model, system, outliers)) for outliers in ("plain", "twin")]
        size = f"{next(row for row in pair if row)['bytes'] / 1e6:.3f}"
        figures = [figure for row in pair for figure in _solver_figures(row)]
        lines.append(line([model, system, size, *figures]))
    facts = "; ".join(
        f"{row['model']}: {row['problems']:,} problems, {row['solved_fp32']:.1%} solved in "
        f"float32, {row['tokens']:,} tokens, perplexity {row['perplexity_fp32']:.3f}"
        for row in {row["model"]: row for row in rows}.values()
    )
    note = (
        "Greedy answers, judged by the task's checker; in brackets the difference from float32, "
        "paired. Perplexity and KL are those of reference solutions; the prompts before them were "
        f"never trained on. {facts}."
    )
    sources = dict.fromkeys(source_line(row) for row in {r["command"]: r for r in rows}.values())
    return "\n\n".join([note, "\n".join(lines), *sources])


def _solver_figures(row: Row | None) -> tuple[str, str, str]:
    if row is None:
        return "", "", ""
    increase = f"{row['increase']:+.2%} ± {row['increase_se']:.2%}"
    return increase, f"{row['kl']:.6f} ± {row['kl_se']:.6f}", _share(row, "solved")


def ablation_table(rows: Sequence[Row]) -> str:
    """What each part of a recipe adds, on the plain model and on its outlier twin."""
    head = ["step", "MB", "KL", "increase", "KL, outlier twin", "increase, outlier twin"]
    lines = [line(head), line(["---", *["---:"] * 5])]
    plain = [row for row in rows if row["outliers"] == "plain"]
    twins = [row for row in rows if row["outliers"] == "twin"]
    for pair in zip(plain, twins, strict=True):
        cells = [pair[0]["step"], f"{pair[0]['bytes'] / 1e6:.2f}"]
        for row in pair:
            change = f"{row['increase']:+.2%} ± {row['increase_se']:.2%}"
            cells += [f"{row['kl']:.6f}", change]
        lines.append(line(cells))
    return "\n".join([*lines, "", source_line(rows[0])])


def cache_contexts_table(rows: Sequence[Row]) -> str:
    """What an int8 cache costs, by context."""
    caches = ("float32", "int8")
    head = ["context", *(f"KL, {cache} cache" for cache in caches), "increase by the int8 cache"]
    lines = [line(head), line(["---:"] * 4)]
    for row in rows:
        kl = [f"{row[f'kl_{cache}']:.6f} ± {row[f'kl_se_{cache}']:.6f}" for cache in caches]
        more = (1 + row["increase_int8"]) / (1 + row["increase_float32"]) - 1
        lines.append(line([f"{row['context']:,}", *kl, f"{more:+.3%}"]))
    return "\n".join([*lines, "", f"Model: {rows[0]['model']}. {source_line(rows[0])}"])


def quantize_table(rows: Sequence[Row]) -> str:
    """What quantizing costs."""
    head = ["model", "recipe", "seconds", "processor seconds", "peak memory, MB", "MB written"]
    lines = [line(head), line(["---", "---", *["---:"] * 4])]
    for row in rows:
        figures = [f"{row[key]:.1f}" for key in ("wall_s", "cpu_s")]
        figures += [f"{row[key] / 1e6:,.0f}" for key in ("peak_rss_bytes", "bytes")]
        lines.append(line([row["model"], row["recipe"], *figures]))
    same = [row["same_bytes"] for row in rows if "same_bytes" in row]
    note = f"A second run gave the same bytes for {sum(same)} of {len(same)}." if same else ""
    return "\n".join([note, "", *lines, "", source_line(rows[0])])


def quality_speed_table(rows: Sequence[Row]) -> str:
    """How fast each recipe is."""
    head = ["model", "system", "MB", "decode, tok/s", "prefill, tok/s"]
    lines = [line(head), line(["---", "---", *["---:"] * 3])]
    for row in rows:
        figures = [f"{row['bytes'] / 1e6:.2f}"]
        figures += [f"{row[key]:,.0f}" for key in ("decode_tps", "prefill_tps")]
        lines.append(line([row["model"], row["system"], *figures]))
    note = "Medians of five requests: 64 tokens after 256, and those 256."
    return "\n".join([note, "", *lines, "", source_line(rows[0])])
