"""Verbs of the service: serve, keys, retrain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recgan.cli.app import Device, Index, Json, app, table
from recgan.console import answer, remark, shown_progress
from recgan.errors import SettingsError

keys_app = typer.Typer(help="The API keys of a service.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")

Store = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="RECGAN_SERVICE_STORE",
        help="The service's database: sqlite:///FILE or postgresql://USER@HOST/NAME.",
    ),
]


@app.command()
def serve(
    data: Annotated[str | None, typer.Option("--data", metavar="DIR", help="The bundle that is served.")] = None,
    recommender: Annotated[
        str | None,
        typer.Option("--recommender", metavar="PLACE", help="The recommender that serves it: folder or fsspec URL."),
    ] = None,
    gan: Annotated[
        str | None,
        typer.Option("--gan", metavar="PLACE", help="Without one, the service recommends but does not design."),
    ] = None,
    directions: Annotated[
        str | None,
        typer.Option(
            "--directions", metavar="PLACE", help="The GAN's, which become sliders: 'recgan sample directions'."
        ),
    ] = None,
    inverter: Annotated[
        str | None,
        typer.Option(
            "--inverter", metavar="PLACE", help="The GAN's, to edit items and photos: 'recgan train inverter'."
        ),
    ] = None,
    gaps: Annotated[
        str | None,
        typer.Option("--gaps", metavar="DIR", help="What the catalogue lacks, to be shown: 'recgan gaps'."),
    ] = None,
    blindtest: Annotated[
        str | None,
        typer.Option("--blindtest", metavar="DIR", help="A blind test, to be shown: 'recgan blindtest make'."),
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="Its database (default: a SQLite file beside the bundle).")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on (default: 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="(default: 8000).")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Web processes that answer there (default: 1).")
    ] = None,
    index: Index = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")] = None,
    keys: Annotated[
        bool | None, typer.Option("--keys/--no-keys", help="Ask for API keys (default: unless on loopback alone).")
    ] = None,
) -> None:
    """Serve recommendations and designs over HTTP, with a page at /.

    What is not given is taken from the environment: RECGAN_SERVICE_DATA, RECGAN_SERVICE_RECOMMENDER, …
    """
    from service.run import serve as run_service
    from service.settings import service_settings

    given = {"data": data, "recommender": recommender, "gan": gan, "store": store, "host": host, "port": port}
    parts = {"directions": directions, "inverter": inverter, "gaps": gaps, "blindtest": blindtest}
    run_service(service_settings(**given, **parts, workers=workers, index=index, device=device, keys=keys))


@keys_app.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Whose it is; for people.")],
    store: Store,
    scope: Annotated[str, typer.Option("--scope", help="read, write (and read), admin (everything).")] = "read",
    per_minute: Annotated[int | None, typer.Option("--per-minute", min=1, help="Requests that it may make.")] = None,
    as_json: Json = False,
) -> None:
    """Make an API key, and tell it, this once."""
    from service.store import Store as ServiceStore
    from service.store.keys import Scope

    if scope not in list(Scope):
        raise SettingsError(f"there is no scope '{scope}'; give one of {', '.join(Scope)}")
    key, text = ServiceStore(store).keys.create(name, Scope(scope), per_minute)
    answer({"id": key.id, "name": name, "scope": scope, "key": text}, text, as_json=as_json)
    remark(f"key {key.id} may {scope}. It is not kept: who loses it makes another, and revokes this one.")


@keys_app.command("list")
def list_keys(store: Store, as_json: Json = False) -> None:
    """List the API keys, without their secrets."""
    from service.store import Store as ServiceStore

    rows: list[dict[str, Any]] = [
        {
            "id": key.id,
            "name": key.name,
            "scope": key.scope.value,
            "per_minute": key.per_minute or "",
            "created": f"{key.created_at:%Y-%m-%d}",
            "revoked": f"{key.revoked_at:%Y-%m-%d}" if key.revoked_at else "",
        }
        for key in ServiceStore(store).keys.all()
    ]
    answer({"keys": rows}, table(rows, ["id", "name", "scope", "per_minute", "created", "revoked"]), as_json=as_json)


@keys_app.command("revoke")
def revoke_key(id: Annotated[str, typer.Argument(help="Its id, as the list tells it.")], store: Store) -> None:
    """Make an API key worthless; every process of the service refuses it within seconds."""
    from service.store import Store as ServiceStore

    ServiceStore(store).keys.revoke(id)
    remark(f"key {id} is worth nothing any more")


@app.command()
def retrain(
    store: Store,
    out: Annotated[Path, typer.Option("--out", help="Folder for the new bundle and recommender; named by the time.")],
    min_gain: Annotated[
        float, typer.Option("--min-gain", help="Promote if the new model's NDCG@20 is higher by at least so much.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train the served recommender anew on all that happened since, and let it serve if it is no worse."""
    from service.retrain import retrain as run
    from service.store import Store as ServiceStore

    with shown_progress() as progress:
        told = run(ServiceStore(store), out, min_gain=min_gain, seed=seed, device=device, progress=progress)
    answer(told.as_json(), told.reason, as_json=as_json)
    raise typer.Exit(0 if told.promoted else 3)
