// Photos that a person chooses. They are made small here: a phone's are larger than the service takes, several at once.
"use strict";

const SIDE = 1024; // pixels that the service looks at
const QUALITY = 0.9;

// A data URL; of what the browser cannot decode, the file as it is, so that the service says what is wrong with it.
export async function readPhoto(file) {
  const image = await createImageBitmap(file).catch(() => null); // upright, as the file's EXIF says
  return image === null ? whole(file) : shrunk(image);
}

function shrunk(image) {
  const scale = Math.min(1, SIDE / Math.max(image.width, image.height));
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(scale * side)));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff"; // behind what is transparent, as in the service
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  image.close(); // a dozen million pixels need not wait for the garbage collector
  return canvas.toDataURL("image/jpeg", QUALITY);
}

const whole = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => resolve(reader.result));
  reader.addEventListener("error", () => reject(new Error(`${file.name} cannot be read.`)));
  reader.readAsDataURL(file);
});
