// What the catalogue lacks: a brief for each cohort and category, and designs for the cohort.
"use strict";

import { api } from "./api.js";
import { button, byId, make, picture, signed, trying } from "./dom.js";

const percent = (share) => `${Math.round(100 * share)}%`;
const between = ({ mean, low, high }) => `${signed(mean)} (${signed(low)} to ${signed(high)})`;

// `begin(wanted)` asks for designs; null where none can be made.
export async function showGaps(begin) {
  const { briefs, cohorts, found, users } = await api("v1/gaps");
  const by = new Map(cohorts.map((cohort) => [cohort.cohort, cohort]));
  byId("gaps-found").textContent = `${found} of ${briefs.length} briefs tell of a gap · ${users.toLocaleString()} users in `
    + `${cohorts.length} ${cohorts.length === 1 ? "cohort" : "cohorts"}`;
  byId("gaps").replaceChildren(...briefs.map((brief) => card(brief, by.get(brief.cohort), begin)));
  if (!briefs.length) byId("gaps").append(make("li", { textContent: "Nothing was looked for." }));
}

function card(brief, cohort, begin) {
  const design = trying(() => begin({ cohort: brief.cohort, category: brief.category }));
  return make("li", {},
    make("figure", {}, picture(brief.image_url, `A design: ${brief.category} for cohort ${brief.cohort}`)),
    make("div", {},
      make("h3", { textContent: `${brief.category} for cohort ${brief.cohort}` }),
      make("p", { textContent: `${cohort.users.toLocaleString()} users, ${percent(cohort.user_share)} of all; they took ${brief.taken.toLocaleString()} of these` }),
      make("p", { className: brief.found ? "warn" : "" , textContent: brief.found ? "A gap" : "No gap: the stock has as good" }),
      make("dl", {}, ...facts(brief).flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })])),
      make("ul", { className: "palette", ariaLabel: "Colours" }, ...brief.palette.map(swatch)),
      make("p", { textContent: brief.style.join("; ") }),
      brief.attributes.length ? make("p", { textContent: `Alike items are mostly ${brief.attributes.map(({ name, value, share }) => `${value} (${name}, ${percent(share)})`).join(", ")}` }) : null,
      begin ? make("div", { className: "acts" }, button("Design for this cohort", design)) : null),
    make("div", { className: "beside" },
      make("p", { textContent: "The items in stock that look most like it (0: the same look; 1: nothing in common)" }),
      make("ul", { className: "near" }, ...brief.nearest.map((item) =>
        make("li", {}, make("figure", {},
          picture(item.image_url, `Item ${item.item_id} in stock`),
          make("figcaption", { textContent: item.distance.toFixed(2), title: item.item_id })))))));
}

const facts = (brief) => [
  ["gap to the best in stock", between(brief.gap)],
  ["to the designer's own best", between(brief.like_for_like)],
  ["preferred by", percent(brief.preferred_by)],
  ["liked more than", `${Math.floor(brief.percentile)}% of the stock`],
  ["judged by", `${brief.judged} users`],
];

function swatch({ hex, name, share }) {
  const colour = make("span", { className: "swatch" });
  colour.style.backgroundColor = hex; // set by the script, which the content-security policy allows
  return make("li", {}, colour, `${name} ${percent(share)}`);
}
