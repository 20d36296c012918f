/**
 * A small shop's day: visitors look around, sign up, work for a company, buy. The same seed
 * gives the same events, whatever the clock says.
 */
export type DemoCall =
  | { readonly type: "track"; readonly userId: string; readonly event: string; readonly properties: Values }
  | { readonly type: "identify"; readonly userId: string; readonly traits: Values }
  | {
      readonly type: "page";
      readonly anonymousId: string;
      readonly name: string;
      readonly properties: Values;
    }
  | { readonly type: "screen"; readonly userId: string; readonly name: string; readonly properties: Values }
  | { readonly type: "group"; readonly userId: string; readonly groupId: string; readonly traits: Values }
  | { readonly type: "alias"; readonly userId: string; readonly previousId: string };

type Values = Readonly<Record<string, string | number | boolean>>;

const FIRST_NAMES =
  "Ada Grace Alan Edsger Barbara Donald Radia Leslie Frances Ken Margaret Dennis Hedy Tim Karen Linus Joan Niklaus Adele John".split(
    " ",
  );
const LAST_NAMES =
  "Moreau Okafor Lindqvist Tanaka Haddad Kowalski Silva Novak Iyer Brennan Castillo Weber Osei Petrov Larsen".split(
    " ",
  );
const COMPANIES = [
  { id: "northwind", name: "Northwind Traders", industry: "Logistics" },
  { id: "halcyon", name: "Halcyon Labs", industry: "Biotech" },
  { id: "kestrel", name: "Kestrel Energy", industry: "Energy" },
  { id: "lumen", name: "Lumen & Oak", industry: "Retail" },
  { id: "tidewater", name: "Tidewater Bank", industry: "Finance" },
  { id: "papaya", name: "Papaya Games", industry: "Games" },
] as const;
const PRODUCTS = [
  { sku: "LAMP-01", name: "Brass desk lamp", price: 89.5 },
  { sku: "CHAIR-04", name: "Oak chair", price: 240 },
  { sku: "MUG-12", name: "Stoneware mug", price: 18 },
  { sku: "RUG-07", name: "Wool rug", price: 329.99 },
  { sku: "CLOCK-02", name: "Wall clock", price: 64.25 },
  { sku: "VASE-09", name: "Glass vase", price: 42 },
] as const;
const PAGES = [
  { name: "Home", path: "/" },
  { name: "Pricing", path: "/pricing" },
  { name: "Catalogue", path: "/catalogue" },
  { name: "About", path: "/about" },
] as const;
const SCREENS = ["Feed", "Basket", "Order History", "Settings"] as const;
const PLANS = ["free", "team", "business"] as const;
const CITIES = ["Lisbon", "Gothenburg", "Nairobi", "Osaka", "Toronto", "Krakow"] as const;

/** The `count` calls of a day, in order. */
export function* demoCalls(seed: number, count: number): Generator<DemoCall> {
  const random = randomFrom(seed);
  const pick = <T>(choices: readonly T[]): T => {
    const choice = choices[Math.floor(random() * choices.length)];
    if (choice === undefined) throw new Error("nothing to pick from");
    return choice;
  };
  const people = FIRST_NAMES.flatMap((first) => LAST_NAMES.map((last) => ({ first, last })));
  for (let made = 0; made < count; made++) {
    const { first, last } = pick(people);
    const userId = `${first}-${last}`.toLowerCase();
    const company = pick(COMPANIES);
    const product = pick(PRODUCTS);
    const quantity = 1 + Math.floor(random() * 3);
    const draw = random();
    if (draw < 0.3) {
      const event = pick(["Product Viewed", "Product Added", "Product Viewed"]);
      yield { type: "track", userId, event, properties: { ...product, quantity } };
    } else if (draw < 0.42) {
      const total = Math.round(product.price * quantity * 100) / 100;
      const properties = {
        orderId: `A-${10_000 + made}`,
        sku: product.sku,
        quantity,
        total,
        currency: "EUR",
      };
      yield { type: "track", userId, event: "Order Completed", properties };
    } else if (draw < 0.5) {
      yield { type: "track", userId, event: "Signed Up", properties: { plan: pick(PLANS) } };
    } else if (draw < 0.68) {
      const page = pick(PAGES);
      const properties = {
        path: page.path,
        referrer: pick(["", "https://news.example", "https://search.example"]),
      };
      yield {
        type: "page",
        anonymousId: `visitor-${Math.floor(random() * 500)}`,
        name: page.name,
        properties,
      };
    } else if (draw < 0.78) {
      yield {
        type: "screen",
        userId,
        name: pick(SCREENS),
        properties: { version: pick(["4.1.0", "4.2.0"]) },
      };
    } else if (draw < 0.9) {
      const traits = { name: `${first} ${last}`, email: `${userId.replace("-", ".")}@${company.id}.example` };
      yield { type: "identify", userId, traits: { ...traits, plan: pick(PLANS), city: pick(CITIES) } };
    } else if (draw < 0.97) {
      const traits = {
        name: company.name,
        industry: company.industry,
        seats: 5 + Math.floor(random() * 200),
      };
      yield { type: "group", userId, groupId: company.id, traits };
    } else {
      yield { type: "alias", userId, previousId: `visitor-${Math.floor(random() * 500)}` };
    }
  }
}

/** mulberry32: small, and the same on every machine. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
