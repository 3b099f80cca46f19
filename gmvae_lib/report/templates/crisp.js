// Small pictures are enlarged in squares, as drawn, and large ones smoothly.
function sharpen(image) {
  image.classList.toggle("crisp", Math.min(image.naturalWidth, image.naturalHeight) <= 40);
}
document.addEventListener("load", (event) => {
  if (event.target.tagName === "IMG") sharpen(event.target);
}, true);
for (const image of document.images) if (image.complete) sharpen(image);
