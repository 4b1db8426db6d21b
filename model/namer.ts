/**
 * Makes equal parts of states one object with a short name, so that a state is compared by the names of its parts. A
 * part is plain data
 * that is never changed.
 */
export class Namer {
  private readonly names = new Map<object, string>();
  private readonly parts = new Map<string, object>();

  private text(part: object): string {
    let text = "";
    for (const field in part) text += `${this.name((part as Record<string, unknown>)[field])},`;
    return text;
  }

  /** Equal for equal parts of one type: the fields of a type are always the same, in one order. */
  name(part: unknown): string {
    if (typeof part !== "object" || part === null) return String(part);
    return this.names.get(part) ?? `{${this.text(part)}}`;
  }

  /** The first object with this content: it is named faster. */
  same<T extends object>(part: T): T {
    const text = this.text(part);
    const first = this.parts.get(text);
    if (first) return first as T;
    this.parts.set(text, part);
    this.names.set(part, `#${this.parts.size.toString(36)}`);
    return part;
  }

  /** Calls a pure function once for each input. */
  once<A extends object, B>(decide: (input: A) => B): (input: A) => B {
    const results = new Map<string, B>();
    return (input) => {
      const text = this.text(input);
      let result = results.get(text);
      if (result === undefined) results.set(text, (result = decide(input)));
      return result;
    };
  }
}
