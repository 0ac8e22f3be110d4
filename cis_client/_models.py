"""The commands of ``cis`` about the model registry: what they take, ask and show."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from cis_client._commands import DONE, Console
from cis_client._reports import evaluation_report, gates_table, weights_report
from cis_client._tables import UNKNOWN, Table, facts, number, percent
from cis_client._words import COMPONENTS, enum_value, field_word, moment, weight_cells
from cis_client.client import Client
from cis_client.v1.core_pb2 import ConversionTarget, Weights
from cis_client.v1.learning_service_pb2 import (
    GetModelRequest,
    ListModelsRequest,
    Model,
    ModelKind,
    ModelState,
    PromoteModelRequest,
    RejectModelRequest,
    RollbackModelRequest,
    SetWeightsRequest,
)
from cis_client.v1.pattern_service_pb2 import GetWeightsRequest

_COEFFICIENTS_SHOWN = 20


def models(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Lists versions, or shows one in full."""
    if arguments.version is not None:
        answer = client.get_model(
            GetModelRequest(client_id=arguments.client, model_version=arguments.version)
        )
        console.answer(answer, model_report(answer.model))
        return DONE
    listed = client.list_models(
        ListModelsRequest(
            client_id=arguments.client,
            kind=arguments.kind,
            states=arguments.state,
            page_size=arguments.count,
        )
    )
    table = Table(("version", "kind", "target", "state", "leads", "origin", "made", "decided by"))
    for model in listed.models:
        table.add(*_row(model))
    console.answer(listed, [table.text()])
    return DONE


def promote(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Lets a version go live."""
    answer = client.promote_model(
        PromoteModelRequest(
            client_id=arguments.client,
            model_version=arguments.version,
            approver=arguments.approver,
            rollout_percentage=arguments.percent,
            reason=arguments.reason,
            force=arguments.force,
        )
    )
    before = answer.replaced_version or "the defaults"
    share = answer.model.rollout_percentage
    rest = f"; {before} serves the rest" if share < 100 else f" in place of {before}"
    told = f"{answer.model.model_version} serves {share} % of the leads{rest}"
    console.answer(answer, [told])
    return DONE


def rollback(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Takes back what came into force last."""
    answer = client.rollback_model(
        RollbackModelRequest(
            client_id=arguments.client,
            kind=arguments.kind,
            target=arguments.conversion_target,
            approver=arguments.approver,
            reason=arguments.reason,
        )
    )
    back = answer.model.model_version if answer.HasField("model") else "the default"
    told = f"{answer.rolled_back_version} was taken back; {back} serves all leads again"
    console.answer(answer, [told])
    return DONE


def reject(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Refuses a candidate."""
    answer = client.reject_model(
        RejectModelRequest(
            client_id=arguments.client,
            model_version=arguments.version,
            approver=arguments.approver,
            reason=arguments.reason,
        )
    )
    console.answer(answer, [f"{answer.model.model_version} is rejected"])
    return DONE


def weights(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Shows the weights in force, or sets them by hand."""
    if arguments.action == "show":
        shown = client.get_weights(GetWeightsRequest(client_id=arguments.client))
        console.answer(shown, weights_report(shown))
        return DONE
    values = {name: getattr(arguments, name) for name in COMPONENTS}
    missing = [f"--{name.replace('_', '-')}" for name, value in values.items() if value is None]
    if arguments.approver is None:
        missing.append("--approver")
    if missing:
        raise ValueError(f"cis weights set needs {', '.join(missing)}")
    answer = client.set_weights(
        SetWeightsRequest(
            client_id=arguments.client,
            weights=Weights(**values),
            approver=arguments.approver,
            reason=arguments.reason,
        )
    )
    console.answer(answer, model_report(answer.model))
    return DONE


def models_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``cis models`` takes."""
    _client(parser)
    parser.add_argument("--version", metavar="VERSION", help="show one version in full")
    parser.add_argument(
        "--kind",
        type=_word(lambda text: enum_value(ModelKind.DESCRIPTOR, text)),
        metavar="KIND",
        help="only weights, or only propensity",
    )
    parser.add_argument(
        "--state",
        type=_word(lambda text: enum_value(ModelState.DESCRIPTOR, text)),
        action="append",
        metavar="STATE",
        help="only versions in this state; may be given again",
    )
    parser.add_argument(
        "--count", type=_share, default=20, metavar="N", help="versions to list (default: 20)"
    )


def promote_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``cis promote`` takes."""
    _decision(parser)
    parser.add_argument("version", metavar="VERSION", help="e.g. weights-3")
    parser.add_argument(
        "--percent",
        type=_share,
        default=100,
        metavar="N",
        help="share of the leads it shall serve (default: 100)",
    )
    parser.add_argument(
        "--force", action="store_true", help="also a version that a gate or a person refused"
    )


def rollback_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``cis rollback`` takes."""
    _decision(parser)
    parser.add_argument(
        "kind",
        nargs="?",
        default=ModelKind.MODEL_KIND_WEIGHTS,
        type=_word(lambda text: enum_value(ModelKind.DESCRIPTOR, text)),
        metavar="KIND",
        help="weights (the default) or propensity",
    )
    parser.add_argument(
        "--conversion-target",
        type=_word(lambda text: enum_value(ConversionTarget.DESCRIPTOR, text)),
        metavar="TARGET",
        help="which propensity model, e.g. converted",
    )


def reject_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``cis reject`` takes."""
    _decision(parser)
    parser.add_argument("version", metavar="VERSION", help="e.g. weights-3")


def weights_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``cis weights`` takes."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=("show", "set"),
        default="show",
        help="set: put weights by hand into force",
    )
    _client(parser)
    group = parser.add_argument_group("set: the five weights, each 0.05..0.50, sum 1")
    for name in COMPONENTS:
        group.add_argument(f"--{name.replace('_', '-')}", type=float, metavar="W")
    group.add_argument("--approver", metavar="NAME", help="who decides")
    group.add_argument("--reason", default="", metavar="TEXT", help="why")


def model_report(model: Model) -> Iterator[str]:
    """One version in full."""
    decided = f"{model.approver}, {moment(model, 'decided_time')}" if model.approver else ""
    lineage = model.lineage
    yield facts(
        (
            ("version", model.model_version),
            ("kind", f"{field_word(model, 'kind')} {field_word(model, 'target')}".rstrip()),
            ("state", field_word(model, "state")),
            ("serves", f"{model.rollout_percentage} % of the leads"),
            ("origin", field_word(model, "origin")),
            ("made", moment(model, "created_time")),
            ("valid until", moment(model, "valid_until_time")),
            ("decided by", decided),
            ("reason", model.reason),
            ("made while live", lineage.parent_version or "the defaults"),
            ("took the place of", model.replaced_version),
            ("learned from", _learned_from(model)),
            ("confidence", percent(model.confidence) if model.sample_size else ""),
            ("run", lineage.run_id),
            ("data", lineage.snapshot_hash),
            ("code", lineage.code_version),
        )
    )
    if model.HasField("weights"):
        table = Table(("component", "weight"))
        for name, cell in zip(COMPONENTS, weight_cells(model.weights), strict=True):
            table.add(name, cell)
        yield table.text()
    if model.HasField("evaluation"):
        yield evaluation_report("on outcomes not seen", model.evaluation)
    if model.gates:
        yield gates_table(model.gates, "gates").text()
    if model.coefficients:
        table = Table(("feature", "log-odds", "low", "high"), "strongest coefficients")
        strongest = sorted(model.coefficients, key=lambda each: -abs(each.value))
        table.more = max(0, len(strongest) - _COEFFICIENTS_SHOWN)
        for each in strongest[:_COEFFICIENTS_SHOWN]:
            low = number(each.low, 3) if each.HasField("low") else UNKNOWN
            high = number(each.high, 3) if each.HasField("high") else UNKNOWN
            table.add(each.feature, number(each.value, 3), low, high)
        yield table.text()
    if model.history:
        table = Table(("when", "state", "leads", "who", "why"), "history")
        for event in model.history:
            table.add(
                moment(event, "event_time"),
                field_word(event, "to_state"),
                f"{event.rollout_percentage} %",
                event.actor,
                event.reason,
            )
        yield table.text()


def _row(model: Model) -> tuple[str, ...]:
    return (
        model.model_version,
        field_word(model, "kind"),
        field_word(model, "target") or UNKNOWN,
        field_word(model, "state"),
        f"{model.rollout_percentage} %",
        field_word(model, "origin"),
        moment(model, "created_time"),
        model.approver or UNKNOWN,
    )


def _learned_from(model: Model) -> str:
    if not model.sample_size:
        return ""
    return f"{number(model.sample_size)} leads, {number(model.converted)} converted"


def _client(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--client", required=True, metavar="ID", help="the client")


def _decision(parser: argparse.ArgumentParser) -> None:
    _client(parser)
    parser.add_argument("--approver", required=True, metavar="NAME", help="who decides")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why")


def _word(read: Callable[[str], int]) -> Callable[[str], int]:
    """Lets argparse show what ``read`` says is wrong."""

    def checked(text: str) -> int:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _share(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 100")
    return int(text)
