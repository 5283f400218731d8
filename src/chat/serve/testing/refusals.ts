import { ApiError } from "../api-error.ts";
import type { RequestDefaults } from "../fields.ts";

export const DEFAULTS: RequestDefaults = { sampling: {}, maxTokens: 99 };

/** Status and field of a refused request, or "taken". */
export function refusal(read: () => unknown): unknown {
  try {
    read();
  } catch (error) {
    if (error instanceof ApiError) return [error.status, error.toJSON().error.param];
    throw error;
  }
  return "taken";
}

/** What a refused request is told, or "taken". */
export function said(read: () => unknown): string {
  try {
    read();
    return "taken";
  } catch (error) {
    return error instanceof ApiError ? error.message : String(error);
  }
}
