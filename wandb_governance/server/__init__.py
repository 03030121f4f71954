"""The embedded W&B server: the protocol of the unmodified ``wandb`` SDK and CLI, from one folder, on loopback.

Where things are::

    settings  process        how it runs: bind, serve, background, find, stop (cli/server.py is its command)
    http/     app api storage requests      routes, key, body limits, every failure as a status the SDK won't retry
    graphql/  document executor schema      a schema-less executor; connection (pages), filters (Mongo filters, order)
    store/    database migrations blobs signing backup     one SQLite file (WAL), blobs by content, signed links
    context   events  hook  problem  gid    what a resolver has at hand; what happened; who may refuse; failures; ids
    accounts/ projects/ runs/ artifacts/ registry/ sweeps/ automations/ views/      one folder for each area
    web/                                    the pages at ``/``
    upkeep                                  crash detection, time to live: what happens without a request

How to add an operation:

1. In a module of the area, register a resolver: ``@QUERY.field("name")``, ``@MUTATION.field("name")``, or on a node
   type (``@PROJECT.field("triggers")``; any module may add fields to a type it imports). A resolver takes
   ``(row, args, ctx)`` and returns a node (``RUN(row)``), a list, a dict of inline fields, a scalar or None. Plain
   columns: ``TYPE.columns(apiName="column")``; null on purpose or the same for all: ``TYPE.constants(field=None)``.
2. Name a new module in ``operations.MODULES``.
3. A mutation runs in one ``BEGIN IMMEDIATE`` transaction (``ctx.tx``) and leaves nothing when it raises a ``Problem``.
   A query reads one snapshot. Raise ``problem.NotFound``, ``BadRequest``, ``Refused``, ``Unprocessable``; never let a
   5xx out, the SDK would retry it for minutes.
4. New tables: append a step to ``store/migrations._STEPS``; a step that is released is never edited.
5. What others may wait for: ``ctx.emit(Event(...))``. Subscribers (``services.subscribers``) run inside the same
   transaction, so an outbox row that they write commits with the change or not at all.
6. New HTTP routes: a ``ROUTES`` list of the module, added in ``http/app.make_app``; wrap handlers in ``guarded``.
7. Work without a request: a function called by ``upkeep.upkeep``.

A field that no resolver knows answers null and is counted (``GET /api/unresolved``); tests fail on any.
"""
