// Small pictures: cut out of a sheet, or drawn from a file, and shown as buttons in a list.

/** Returns canvases of the pictures of a sheet {src, columns, count}, row by row. */
export async function cutSheet(sheet) {
  const image = await loadImage(sheet.src);
  const width = image.naturalWidth / sheet.columns;
  const height = image.naturalHeight / Math.ceil(sheet.count / sheet.columns);
  return Array.from({ length: sheet.count }, (_, i) => {
    const [column, row] = [i % sheet.columns, Math.floor(i / sheet.columns)];
    return draw(image, width, height, column * width, row * height);
  });
}

/** Returns a canvas of the picture in a Blob. */
export async function drawBlob(blob) {
  const image = await createImageBitmap(blob);
  return draw(image, image.width, image.height, 0, 0);
}

/** Returns a copy of a canvas. */
export function copy(canvas) {
  return draw(canvas, canvas.width, canvas.height, 0, 0);
}

export async function loadImage(src) {
  const image = new Image();
  image.src = src;
  await image.decode();
  return image;
}

/** Returns a list item with a picture to click, and to take off where `onRemove` is given. */
export function cell(canvas, label, onClick, onRemove) {
  const item = document.createElement("li");
  const view = document.createElement("button");
  view.type = "button";
  view.className = "view";
  view.setAttribute("aria-label", `${label}: open`);
  view.append(canvas);
  view.addEventListener("click", onClick);
  item.append(view);
  if (onRemove) {
    const off = document.createElement("button");
    off.type = "button";
    off.className = "off";
    off.textContent = "×";
    off.setAttribute("aria-label", `${label}: remove`);
    off.addEventListener("click", onRemove);
    item.append(off);
  }
  return item;
}

function draw(image, width, height, x, y) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, width, height);
  return canvas;
}
