from __future__ import annotations

import pytest

from fileintel.errors import ModelAnswerError, ModelRequestError, ModelServerError
from fileintel.tasks.model_servers import CALL_NEWS_SECONDS, FAILING_QUIET_SECONDS, QUIET_SECONDS, ModelServers

CHAT, EMBEDDING = "http://chat/v1", "http://embedding/v1"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def servers(clock: Clock) -> ModelServers:
    return ModelServers(clock)


def call(servers: ModelServers, error: Exception | None = None, server: str = CHAT) -> None:
    if error is None:
        with servers.calling(server):
            return
    with pytest.raises(type(error)), servers.calling(server):
        raise error


class Check:
    """A look at a server that counts and fails as it is told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.times = 0

    def __call__(self) -> None:
        self.times += 1
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("error", [ModelServerError("no one there"), ModelRequestError("bad key")])
def test_a_failure_is_told_with_the_time_since_the_first_until_a_call_goes_well(servers, clock, error):
    assert servers.failing() is None
    call(servers, error)
    clock.now += 60
    call(servers, ModelServerError("still no one"))
    clock.now += 5
    assert servers.failing() == ("still no one", 65.0)
    call(servers)
    assert servers.failing() is None
    call(servers, error)
    assert servers.failing() == (str(error), 0.0)


def test_an_unusable_answer_is_an_answer(servers):
    call(servers, ModelServerError("away"))
    call(servers, ModelAnswerError("not JSON"))
    assert servers.failing() is None


def test_what_says_nothing_of_the_server_changes_nothing(servers):
    call(servers, ModelServerError("away"))
    call(servers, RuntimeError("a bug"))
    assert servers.failing() == ("away", 0.0)


def test_a_failed_call_is_no_news_after_a_while_and_a_later_one_is_another_failure(servers, clock):
    call(servers, ModelServerError("away"))
    clock.now += CALL_NEWS_SECONDS + 1
    assert servers.failing() is None
    call(servers, ModelServerError("away"))
    assert servers.failing() == ("away", 0.0)


def test_a_server_is_looked_at_when_nothing_was_heard_of_it(servers, clock):
    check = Check()
    servers.look(CHAT, check)
    servers.look(CHAT, check)
    assert check.times == 1
    clock.now += QUIET_SECONDS - 1
    call(servers)
    clock.now += 2
    servers.look(CHAT, check)
    assert check.times == 1
    clock.now += QUIET_SECONDS
    check.error = ModelServerError("gone")
    servers.look(CHAT, check)
    clock.now += FAILING_QUIET_SECONDS
    servers.look(CHAT, check)
    assert (check.times, servers.failing()) == (3, ("gone", FAILING_QUIET_SECONDS))
    check.error = None
    clock.now += FAILING_QUIET_SECONDS
    servers.look(CHAT, check)
    assert servers.failing() is None


def test_that_a_server_is_there_does_not_clear_what_its_calls_say(servers, clock):
    call(servers, ModelRequestError("no such model"))
    clock.now += FAILING_QUIET_SECONDS
    servers.look(CHAT, Check())
    assert servers.failing() == ("no such model", FAILING_QUIET_SECONDS)


def test_a_look_goes_on_counting_from_the_failed_call(servers, clock):
    call(servers, ModelServerError("away"))
    check = Check()
    check.error = ModelServerError("away")
    for _ in range(20):
        clock.now += FAILING_QUIET_SECONDS
        servers.look(CHAT, check)
    assert servers.failing() == ("away", 20 * FAILING_QUIET_SECONDS)


def test_the_server_that_has_failed_longest_is_told(servers, clock):
    call(servers, ModelServerError("embedding away"), EMBEDDING)
    clock.now += 5
    call(servers, ModelServerError("chat away"))
    assert servers.failing() == ("embedding away", 5.0)
    call(servers, server=EMBEDDING)
    assert servers.failing() == ("chat away", 0.0)
