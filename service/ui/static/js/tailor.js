// Tailoring: an item or a photo, changed so that the one who is shown likes it more. Offered where there is an inverter.
"use strict";

import { byId, make, picture, trying } from "./dom.js";
import { isSomebody, offerTailoring, someone } from "./people.js";
import { readPhoto } from "./photos.js";

const state = { photo: null };

export function startTailoring(categories, begin) {
  const designable = categories.filter((category) => category.designable).map(({ name }) => name);
  const tailor = async (subject, more = {}) => {
    if (!isSomebody()) throw new Error("Choose a user first, or show photos.");
    const held = { leash: Number(byId("tailor-leash").value), keep_colour: byId("tailor-colour").checked };
    await begin({ kind: "tailor", of: [subject], ...held }, { ...someone(), ...more, realism: Number(byId("realism").value) });
  };
  offerTailoring((item) => (designable.includes(item.category) ? () => tailor({ item: item.item_id }) : null));
  byId("tailor-category").replaceChildren(...designable.map((name) => make("option", { value: name, textContent: name })));
  byId("tailor").hidden = false;
  byId("tailor-photo").addEventListener("change", trying(showPhoto));
  byId("tailor").addEventListener("submit", (event) => {
    event.preventDefault();
    trying(async () => {
      if (state.photo === null) throw new Error("Choose a photo first.");
      await tailor({ photo: state.photo.slice(state.photo.indexOf(",") + 1) }, { category: byId("tailor-category").value });
    })();
  });
}

async function showPhoto() {
  const [file] = byId("tailor-photo").files;
  state.photo = null;
  const photo = file ? await readPhoto(file) : null;
  if (file !== byId("tailor-photo").files[0]) return; // another was chosen while this one was read
  state.photo = photo;
  byId("tailor-shown").replaceChildren(...(state.photo === null ? [] : [tailored(state.photo)]));
}

// A data URL has no leading slash to take away.
const tailored = (url) => picture(url, "The photo that is to be tailored");

const shown = (value) => value.toFixed(2).replace("-", "−");

// What the API tells of a tailored design, and of how well what it was made of was found.
export function tailoredFacts({ score, settings: { edit } }) {
  const facts = [];
  const say = (textContent, className = "fact") => facts.push(make("p", { className, textContent }));
  const usual = edit?.leash ? edit.leash / edit.settings.leash : null;
  if (edit?.inversion) {
    const { pixel_error: pixels, distance } = edit.inversion;
    say(`As the generator first drew it, it was off by ${pixels.toFixed(1)} of 255 in the pixels and ${shown(distance)} in looks`
      + `${usual === null ? "" : ` (two items of the category: ${shown(usual)})`}.`);
    if (usual !== null && distance > usual) say("The generator cannot draw what it was made of: little of that is left.", "warn");
  }
  if (edit?.verb === "tailor") {
    say(`Score: ${shown(edit.score_of_subject)} what it was made of, ${shown(edit.score_of_start)} as first drawn, ${shown(score)} now.`);
    say(`Now it is off by ${shown(edit.distance)} in looks${edit.within_leash ? "" : ", further than it should go"}.`);
  }
  return facts;
}
