"""The errors of both generations of the service, and which of them mean the same.

Within the server an error goes by its V1 number; what only V2 tells apart goes by its V2 name as well.
Both tables are the service's public ones.
"""

from __future__ import annotations

from typing import NamedTuple

V1_MESSAGES = {
    1: "Unknown error",
    2: "Service temporarily unavailable",
    3: "Unsupported openapi method",
    4: "Open api request limit reached",
    6: "No permission to access data",
    13: "Get service token failed",
    14: "IAM Certification failed",
    15: "App not exists or create failed",
    17: "Open api daily request limit reached",
    18: "Open api qps request limit reached",
    19: "Open api total request limit reached",
    100: "Invalid parameter",
    110: "Access token invalid or no longer valid",
    111: "Access token expired",
    336000: "Internal error",
    336001: "Invalid Argument",
    336002: "Invalid JSON",
    336003: "Invalid parameter",
    336004: "Permission error",
    336005: "API name not exist",
    336006: "The message role is invalid",
    336007: "The max input characters exceeded",
    336008: "Invalid request",
    336100: "The server is under high load, please try again later",
    336101: "Only POST is supported",
    336102: "Invalid request",
    336103: "Prompt tokens too long",
    336104: "Invalid argument",
    336105: "Invalid argument",
    336200: "Internal error",
    336303: "Invalid request",
    336501: "Rate limit reached for RPM",
    336502: "Rate limit reached for TPM",
    337006: "Invalid request",
}


class V2Error(NamedTuple):
    """An error as V2 documents it.

    Attributes:
        status: HTTP status.
        kind: its `type`.
        message: its usual text.
        v1: the V1 number nearest to it.
    """

    status: int
    kind: str
    message: str
    v1: int


_BAD = "invalid_request_error"
_DENIED = "access_denied"
_UNSAFE = "unsafe_request"
_RATE = "rate_limit_exceeded"
_INTERNAL = "Internal_error"  # the capital is the service's

V2_ERRORS = {
    "malformed_json": V2Error(400, _BAD, "Invalid Argument", 336002),
    "invalid_messages": V2Error(400, _BAD, "Invalid messages", 336006),
    "characters_too_long": V2Error(400, _BAD, "The max input characters exceeded", 336007),
    "tokens_too_long": V2Error(400, _BAD, "Prompt tokens too long", 336103),
    "invalid_argument": V2Error(400, _BAD, "Invalid Argument", 336003),
    "no_parameter_permission": V2Error(401, _DENIED, "No permission to use the parameter", 336004),
    "invalid_model": V2Error(401, _BAD, "The model does not exist or you do not have access to it.", 336005),
    "invalid_appid": V2Error(401, _BAD, "No permission to use the appid", 15),
    "invalid_iam_token": V2Error(401, _BAD, "IAM Certification failed", 14),
    "system_unsafe": V2Error(403, _UNSAFE, "the content of system field is invalid", 336003),
    "user_setting_unsafe": V2Error(403, _UNSAFE, "the content of user field is invalid", 336003),
    "account_overdue": V2Error(403, _DENIED, "Access denied due to overdue account", 17),
    "model_offline": V2Error(403, _DENIED, "The model is offline", 6),
    "method_not_supported": V2Error(405, _BAD, "Only POST requests are accepted", 336101),
    "rpm_rate_limit_exceeded": V2Error(429, _RATE, "Rate limit reached for RPM", 336501),
    "tpm_rate_limit_exceeded": V2Error(429, _RATE, "Rate limit reached for TPM", 336502),
    "input_tpm_rate_limit_exceeded": V2Error(429, _RATE, "Rate limit reached for Input TPM", 336502),
    "output_tpm_rate_limit_exceeded": V2Error(429, _RATE, "Rate limit reached for Output TPM", 336502),
    "preemptible_rate_limit_exceeded": V2Error(429, _RATE, "Rate limit reached for preemptible resource", 4),
    "user_rate_limit_exceeded": V2Error(429, _RATE, "qps request limit by APP ID reached", 18),
    "cluster_rate_limit_exceeded": V2Error(429, _RATE, "request limit by resource cluster reached", 4),
    "cluster_rpm_rate_limit_exceeded": V2Error(429, _RATE, "Rate limit reached for Cluster RPM", 336501),
    "cluster_tpm_rate_limit_exceeded": V2Error(429, _RATE, "Rate limit reached for Cluster TPM", 336502),
    "internal_error": V2Error(500, _INTERNAL, "Internal error", 336000),
    "dispatch_internal_error": V2Error(500, _INTERNAL, "Internal error", 336200),
    # Not documented: what an unknown path gets.
    "not_found": V2Error(404, _BAD, "There is nothing at this path", 3),
}

# Every V1 number in V2's words.
V2_NAMES = {
    1: "internal_error",
    2: "internal_error",
    3: "not_found",
    4: "cluster_rate_limit_exceeded",
    6: "invalid_model",
    13: "invalid_iam_token",
    14: "invalid_iam_token",
    15: "invalid_appid",
    17: "account_overdue",
    18: "user_rate_limit_exceeded",
    19: "account_overdue",
    100: "invalid_iam_token",
    110: "invalid_iam_token",
    111: "invalid_iam_token",
    336000: "internal_error",
    336001: "invalid_argument",
    336002: "malformed_json",
    336003: "invalid_argument",
    336004: "no_parameter_permission",
    336005: "invalid_model",
    336006: "invalid_messages",
    336007: "characters_too_long",
    336008: "invalid_argument",
    336100: "cluster_rate_limit_exceeded",
    336101: "method_not_supported",
    336102: "invalid_argument",
    336103: "tokens_too_long",
    336104: "invalid_argument",
    336105: "invalid_argument",
    336200: "dispatch_internal_error",
    336303: "invalid_messages",
    336501: "rpm_rate_limit_exceeded",
    336502: "tpm_rate_limit_exceeded",
    337006: "invalid_argument",
}

__all__ = ["V1_MESSAGES", "V2_ERRORS", "V2_NAMES", "V2Error"]
