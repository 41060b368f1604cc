"""The HTTP of managing sources: add, check, remove, import and export. Thin over services.ingest.managing, which the command line uses too."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.ingest.managing import Known, Sources, Unknown, Unwanted, Wanted
from services.ingest.opml import MAX_BYTES, NotOpml
from shared.bodies import SMALL, body, bounded
from shared.service import Json

OPML_TYPE = "text/x-opml; charset=utf-8"


class ManageApi:
    """Routes over the sources of the file that the service follows: what they change is read by the poller within FEEDLOOP_CONFIG_CHECK_S seconds."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def routes(self) -> list[Route]:
        return [
            Route("/api/sources", self.add, methods=["POST"]),
            Route("/api/sources/check", self.check, methods=["GET"]),
            Route("/api/sources/import", self.import_opml, methods=["POST"]),
            Route("/api/sources/export", self.export, methods=["GET"]),
            Route("/api/sources/{id:path}", self.remove, methods=["DELETE"]),
        ]

    async def add(self, request: Request) -> Response:
        """201 with the new source. 409 where it is there already or the page has several feeds, which come with the answer; 422 for what is none."""
        try:
            return Json((await self._sources.add(await body(request, Wanted, SMALL))).model_dump(mode="json"), status_code=201)
        except Unwanted as error:
            status = 409 if error.feeds or isinstance(error, Known) else 422
            return Json({"error": str(error), "feeds": [feed.model_dump() for feed in error.feeds]}, status_code=status)

    async def check(self, request: Request) -> Response:
        """200 with the report, whether or not the address can be read: `readable` says it."""
        url = request.query_params.get("url", "")
        if not url:
            raise HTTPException(422, "url: say what to check, as in /api/sources/check?url=https://example.org/feed")
        try:
            return Json((await self._sources.check(url)).model_dump(mode="json"))
        except Unwanted as error:
            raise HTTPException(422, str(error)) from error

    async def import_opml(self, request: Request) -> Response:
        """The body is the OPML as it is. 200 with what became of each outline."""
        data = await bounded(request, MAX_BYTES, "a list")
        try:
            return Json((await self._sources.import_opml(data)).model_dump(mode="json"))
        except NotOpml as error:
            raise HTTPException(422, str(error)) from error

    async def export(self, request: Request) -> Response:
        """OPML; with ?format=json an object that holds it and says, too, what was left out."""
        exported = await self._sources.export()
        if request.query_params.get("format") == "json":
            return Json(exported.model_dump())
        name = {"Content-Disposition": 'attachment; filename="feedloop.opml"'}
        return Response(exported.opml, media_type=OPML_TYPE, headers=name)

    async def remove(self, request: Request) -> Response:
        """The id, or the address, percent-encoded."""
        try:
            source = await self._sources.remove(request.path_params["id"])
        except Unknown as error:
            raise HTTPException(404, str(error)) from error
        return Json({"removed": source.source_id, "place": source.place()})
