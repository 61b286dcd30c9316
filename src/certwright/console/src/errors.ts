/** Refusals of the API, in words for users. */
import type { CombinedError } from "@urql/core";

export interface Refusal {
  code: string;
  message: string;
  /** The input that was refused. */
  field: string | null;
  /** The CA's own document (RFC 7807). */
  problem: Record<string, unknown> | null;
  /** To be found in the server's log by. */
  reference: string | null;
}

export function refusal(error: CombinedError): Refusal {
  const first = error.graphQLErrors[0];
  if (!first) {
    const message = "The server cannot be reached at the moment. Nothing is lost: try again shortly.";
    return { code: "UNREACHABLE", message, field: null, problem: null, reference: null };
  }
  const { code, field, problem, reference } = first.extensions;
  return {
    code: text(code) ?? "INTERNAL",
    message: sentence(first.message),
    field: text(field),
    problem: typeof problem === "object" ? (problem as Record<string, unknown> | null) : null,
    reference: text(reference),
  };
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** The API's messages begin small and have no full stop. */
export function sentence(message: string): string {
  const trimmed = message.trim();
  const begun = /^[a-z]+ /.test(trimmed) ? trimmed.charAt(0).toUpperCase() + trimmed.slice(1) : trimmed;
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
