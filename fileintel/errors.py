"""Every error FileIntel raises on purpose: one line for a person, an exit code for a shell, a status for HTTP."""


class FileIntelError(Exception):
    """The root of FileIntel's errors: its text is one line that names the thing and the cure."""

    exit_code = 1
    http_status = 500
    title = "internal error"

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    @property
    def code(self) -> str:
        """The error's stable name, as it stands in problem+json `type` and in stored rows."""
        name = type(self).__name__.removesuffix("Error")
        return "".join("-" + c.lower() if c.isupper() else c for c in name).lstrip("-")


class InputError(FileIntelError):
    """The caller asked for something that cannot be done as asked."""

    exit_code = 2
    http_status = 422
    title = "bad input"


class NotFoundError(InputError):
    """The thing named does not exist (or is not the caller's to see)."""

    http_status = 404
    title = "not found"


class ConflictError(InputError):
    """The thing exists already, or is in a state that does not allow the request."""

    http_status = 409
    title = "conflict"


class BudgetSpentError(ConflictError):
    """A build may make no further LLM call before it is given a higher budget."""

    title = "budget spent"


class ConfirmationNeededError(ConflictError):
    """A build costs more than what is begun without a person's word."""

    title = "confirmation needed"


class NotAuthenticatedError(InputError):
    """No API key, or one that is unknown or revoked."""

    http_status = 401
    title = "not authenticated"


class NotAllowedError(InputError):
    """The API key is valid and does not reach this far."""

    http_status = 403
    title = "not allowed"


class ConfigurationError(InputError):
    """A setting is missing, unknown, malformed, or cannot work beside another."""

    http_status = 500
    title = "configuration"


class DocumentError(InputError):
    """A document cannot be read; the rest of its collection is unaffected."""

    title = "unreadable document"


class EmptyDocumentError(DocumentError):
    """The file has no bytes, no pages or no text."""

    title = "empty document"


class EncryptedDocumentError(DocumentError):
    """The file asks for a password."""

    title = "encrypted document"


class CorruptDocumentError(DocumentError):
    """The file's bytes do not follow its format."""

    title = "corrupt document"


class MislabelledDocumentError(DocumentError):
    """The file's name promises another format than its bytes hold."""

    http_status = 415
    title = "mislabelled document"


class UnsupportedDocumentError(DocumentError):
    """The file's format is none that FileIntel reads."""

    http_status = 415
    title = "unsupported document"


class DocumentTooLargeError(DocumentError):
    """The file is over the size limit."""

    http_status = 413
    title = "document too large"


class ParserLimitError(DocumentError):
    """Parsing went over its time or memory limit."""

    title = "parser limit"


class ServiceError(FileIntelError):
    """A server FileIntel depends on (Postgres, Redis, the API, the LLM server) does not answer as it should."""

    http_status = 503
    title = "service unavailable"


class ModelServerError(ServiceError):
    """The LLM or embedding server failed in a way that a later try may cure."""

    http_status = 502
    title = "model server"

    def __init__(self, message: str, *, retry_after: float | None = None, overloaded: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.overloaded = overloaded


class ModelRequestError(FileIntelError):
    """The LLM or embedding server refused the request for good (bad model name, bad key, prompt too long)."""

    http_status = 502
    title = "model request"


class ModelAnswerError(FileIntelError):
    """The model's answer cannot be used: not of the form that was asked for."""

    http_status = 502
    title = "model answer"

    def __init__(self, message: str, *, raw: str = "") -> None:
        super().__init__(message)
        self.raw = raw
