"""Challenge providers and what they put in place, with their queries and mutations."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import strawberry
from strawberry import ID, Private

from certwright import model
from certwright.api.context import Info
from certwright.api.problem import Problem
from certwright.challenges.solver import Kind
from certwright.providers import Trial

strawberry.enum(
    model.PresentationState,
    description="PLANNED: the provider is about to be told. PRESENTED: it was, and the name servers are watched. "
    "VISIBLE: every one of them has it. REMOVING: a clean-up failed, and is tried again.",
)


@strawberry.type
class ChallengeProviderKindSetting:
    name: str
    meaning: str
    secret: bool = strawberry.field(description="Never shown again.")
    required: bool
    default: str
    multiline: bool = strawberry.field(description="Whether it may have several lines.")


@strawberry.type(description="What a challenge provider may be.")
class ChallengeProviderKind:
    name: str
    title: str
    challenge_type: str
    settings: list[ChallengeProviderKindSetting]

    @classmethod
    def of(cls, kind: Kind) -> "ChallengeProviderKind":
        settings = [
            ChallengeProviderKindSetting(
                name=s.name,
                meaning=s.meaning,
                secret=s.secret,
                required=s.required,
                default=s.default,
                multiline=s.multiline,
            )
            for s in kind.settings
        ]
        return cls(name=kind.name, title=kind.title, challenge_type=kind.challenge_type, settings=settings)


@strawberry.type
class ChallengeProviderSetting:
    name: str
    value: str


@strawberry.type(description="Answers the challenges of orders for its zones, so that nobody else has to.")
class ChallengeProvider:
    id: ID
    name: str
    kind: str = strawberry.field(description="The name of one of challengeProviderKinds.")
    zones: list[str] = strawberry.field(
        description="The domains that it serves, with all below them; empty: every name that no other one serves."
    )
    settings: list[ChallengeProviderSetting] = strawberry.field(description="Those that are no secrets.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, provider: model.Provider) -> "ChallengeProvider":
        return cls(
            id=ID(provider.id),
            name=provider.name,
            kind=provider.kind,
            zones=list(provider.zones),
            settings=[ChallengeProviderSetting(name=s.name, value=s.value) for s in provider.shown],
            created_at=provider.created_at,
            updated_at=provider.updated_at,
        )


@strawberry.type(description="What an authoritative name server answered when it was last asked.")
class NameServer:
    name: str
    address: str
    agrees: bool
    answered: bool = strawberry.field(description="Whether there was any answer at all.")
    answer: str | None

    @classmethod
    def of(cls, server: model.NameServer) -> "NameServer":
        return cls(
            name=server.name,
            address=server.address,
            agrees=server.agrees,
            answered=server.answered,
            answer=server.answer,
        )


@strawberry.type(description="What a provider was told to put in place for a challenge, until it is cleaned up.")
class Presentation:
    stored: Private[model.Presentation]
    challenge_id: ID
    record: str = strawberry.field(description="Name of the TXT record, delegation by CNAME followed; or a file's URL.")
    value: str
    state: model.PresentationState
    since: datetime
    attempts: int = strawberry.field(description="How many failed, or looked in vain, in this state.")
    problem: Problem | None = strawberry.field(description="Of the last attempt.")
    servers: list[NameServer]

    @strawberry.field(description="None where it was deleted meanwhile.")
    async def provider(self, info: Info) -> ChallengeProvider | None:
        found = await info.context.providers.load(self.stored.provider_id)
        return None if found is None else ChallengeProvider.of(found)

    @classmethod
    def of(cls, presentation: model.Presentation) -> "Presentation":
        return cls(
            stored=presentation,
            challenge_id=ID(presentation.challenge_id),
            record=presentation.record,
            value=presentation.value,
            state=presentation.state,
            since=presentation.since,
            attempts=presentation.attempts,
            problem=Problem.of(presentation.problem) if presentation.problem else None,
            servers=[NameServer.of(server) for server in presentation.servers],
        )


@strawberry.type(description="What came of a test: a random value was presented, looked for, and cleaned up.")
class ChallengeProviderTest:
    record: str
    value: str
    visible: bool = strawberry.field(description="Whether every name server had it in the end.")
    servers: list[NameServer]

    @classmethod
    def of(cls, trial: Trial) -> "ChallengeProviderTest":
        return cls(
            record=trial.record,
            value=trial.value,
            visible=trial.visible,
            servers=[NameServer.of(server) for server in trial.servers],
        )


@strawberry.input
class ChallengeProviderSettingInput:
    name: str
    value: str


@strawberry.input
class CreateChallengeProviderInput:
    name: str
    kind: str = strawberry.field(description="The name of one of challengeProviderKinds.")
    zones: list[str] | None = strawberry.field(
        default=None, description="The domains that it serves, with all below them; none: every name."
    )
    settings: list[ChallengeProviderSettingInput] | None = None


@strawberry.input
class UpdateChallengeProviderInput:
    id: ID
    name: str | None = None
    zones: list[str] | None = None
    settings: list[ChallengeProviderSettingInput] | None = strawberry.field(
        default=None, description="Those that change; the others stay as they are."
    )


@strawberry.type
class ProviderQueries:
    @strawberry.field
    async def challenge_provider_kinds(self, info: Info) -> list[ChallengeProviderKind]:
        return [ChallengeProviderKind.of(kind) for kind in info.context.api.reader.provider_kinds()]

    @strawberry.field(description="All of them, oldest first.")
    async def challenge_providers(self, info: Info) -> list[ChallengeProvider]:
        context = info.context
        return [ChallengeProvider.of(p) for p in await context.read(context.api.reader.providers, context.actor)]

    @strawberry.field
    async def challenge_provider(self, info: Info, id: ID) -> ChallengeProvider | None:
        found = await info.context.providers.load(id)
        return None if found is None else ChallengeProvider.of(found)


@strawberry.type
class ProviderMutations:
    @strawberry.mutation(description="From then on, orders for names in its zones need no further action.")
    async def create_challenge_provider(self, info: Info, input: CreateChallengeProviderInput) -> ChallengeProvider:
        context = info.context
        created = await context.act(
            context.api.service.providers.create,
            context.actor,
            name=input.name,
            kind=input.kind,
            zones=input.zones or (),
            settings=_settings(input.settings) or {},
        )
        return ChallengeProvider.of(created)

    @strawberry.mutation
    async def update_challenge_provider(self, info: Info, input: UpdateChallengeProviderInput) -> ChallengeProvider:
        context = info.context
        updated = await context.act(
            context.api.service.providers.update,
            context.actor,
            input.id,
            name=input.name,
            zones=input.zones,
            settings=_settings(input.settings),
        )
        return ChallengeProvider.of(updated)

    @strawberry.mutation(description="CONFLICT while an open order has something in place by it.")
    async def delete_challenge_provider(self, info: Info, id: ID) -> ChallengeProvider:
        context = info.context
        return ChallengeProvider.of(await context.act(context.api.service.providers.delete, context.actor, id))

    @strawberry.mutation(
        description="Presents a random value at the record where a challenge for `name` would have one, looks for it "
        "at each name server for some seconds, and cleans it up. PROVIDER_ERROR where the provider refuses."
    )
    async def test_challenge_provider(self, info: Info, id: ID, name: str) -> ChallengeProviderTest:
        context = info.context
        return ChallengeProviderTest.of(await context.act(context.api.service.providers.test, context.actor, id, name))


def _settings(given: Sequence[ChallengeProviderSettingInput] | None) -> Mapping[str, str] | None:
    return None if given is None else {setting.name: setting.value for setting in given}
