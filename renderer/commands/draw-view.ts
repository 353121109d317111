/*
 * A picture of an element, drawn by the page itself. A browser gives no page its pixels, and HTML as a picture would need images
 * from data: or blob:, which the page's policy refuses. So what the browser has laid out is drawn once more: backgrounds, lines,
 * words in their places, icons, canvases. It knows what this page uses, not all of CSS.
 */

/** The element as far as it is in view, on the page's background, at the screen's resolution; `null`: the browser has no canvas. */
export function drawView(element: HTMLElement): HTMLCanvasElement | null {
  const box = element.getBoundingClientRect();
  const scale = window.devicePixelRatio;
  const picture = document.createElement('canvas');
  picture.width = Math.ceil(box.width * scale);
  picture.height = Math.ceil(box.height * scale);
  const context = picture.getContext('2d');
  if (context === null) return null;
  context.scale(scale, scale);
  context.translate(-box.left, -box.top);
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(box.left, box.top, box.width, box.height);
  drawElement(context, element);
  return picture;
}

function drawElement(context: CanvasRenderingContext2D, element: Element): void {
  const style = getComputedStyle(element);
  if (style.display === 'none' || style.visibility === 'hidden' || element.classList.contains('unseen'))
    return;
  const box = element.getBoundingClientRect();
  if (element instanceof HTMLCanvasElement) {
    if (element.width > 0 && element.height > 0)
      context.drawImage(element, box.left, box.top, box.width, box.height);
    return;
  }
  if (element instanceof SVGSVGElement) {
    drawIcon(context, element, style, box);
    return;
  }
  drawBox(context, style, box);
  context.save();
  if (style.overflowX !== 'visible' || style.overflowY !== 'visible') {
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
  }
  if (element instanceof HTMLInputElement) drawInput(context, element, style, box);
  for (const child of element.childNodes) {
    if (child instanceof Element) drawElement(context, child);
    else if (child instanceof Text) drawWords(context, child, style);
  }
  context.restore();
}

function drawBox(context: CanvasRenderingContext2D, style: CSSStyleDeclaration, box: DOMRect): void {
  context.fillStyle = style.backgroundColor;
  context.fillRect(box.left, box.top, box.width, box.height);
  const widthOf = (side: string) => Number.parseFloat(style.getPropertyValue(`border-${side}-width`)) || 0;
  const line = (side: string, x: number, y: number, width: number, height: number) => {
    if (style.getPropertyValue(`border-${side}-style`) === 'none' || width <= 0 || height <= 0) return;
    context.fillStyle = style.getPropertyValue(`border-${side}-color`);
    context.fillRect(x, y, width, height);
  };
  line('top', box.left, box.top, box.width, widthOf('top'));
  line('bottom', box.left, box.bottom - widthOf('bottom'), box.width, widthOf('bottom'));
  line('left', box.left, box.top, widthOf('left'), box.height);
  line('right', box.right - widthOf('right'), box.top, widthOf('right'), box.height);
}

/** Word for word, because each has its place also where the text is broken into lines. */
function drawWords(context: CanvasRenderingContext2D, text: Text, style: CSSStyleDeclaration): void {
  const range = document.createRange();
  context.font = `${style.fontStyle} ${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  context.fillStyle = style.color;
  context.textBaseline = 'middle';
  const underlined = text.parentElement?.matches('button.link, a') ?? false;
  for (const { 0: word, index } of text.data.matchAll(/\S+/g)) {
    range.setStart(text, index);
    range.setEnd(text, index + word.length);
    const { left, top, width, height } = range.getBoundingClientRect();
    if (width === 0) continue;
    context.fillText(word, left, top + height / 2);
    if (underlined) context.fillRect(left, Math.round(top + height) - 1, width, 1);
  }
}

function drawInput(
  context: CanvasRenderingContext2D,
  input: HTMLInputElement,
  style: CSSStyleDeclaration,
  box: DOMRect,
): void {
  if (input.type !== 'text' && input.type !== 'search') return;
  context.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  context.fillStyle = style.color;
  context.textBaseline = 'middle';
  context.fillText(
    input.value || input.placeholder,
    box.left + Number.parseFloat(style.paddingLeft),
    box.top + box.height / 2,
  );
}

/** An icon of lines: paths, circles and lines in the units of its view box. */
function drawIcon(
  context: CanvasRenderingContext2D,
  icon: SVGSVGElement,
  style: CSSStyleDeclaration,
  box: DOMRect,
): void {
  const units = icon.viewBox.baseVal.width || box.width;
  context.save();
  context.translate(box.left, box.top);
  context.scale(box.width / units, box.height / units);
  context.strokeStyle = style.color;
  context.lineWidth = Number.parseFloat(style.strokeWidth) || 2;
  context.lineCap = 'round';
  context.lineJoin = 'round';
  for (const shape of icon.children) {
    const at = (name: string) => Number(shape.getAttribute(name) ?? 0);
    const path = new Path2D(shape.getAttribute('d') ?? '');
    if (shape.tagName === 'circle') path.arc(at('cx'), at('cy'), at('r'), 0, 2 * Math.PI);
    if (shape.tagName === 'rect') path.rect(at('x'), at('y'), at('width'), at('height'));
    if (shape.tagName === 'line') {
      path.moveTo(at('x1'), at('y1'));
      path.lineTo(at('x2'), at('y2'));
    }
    context.stroke(path);
  }
  context.restore();
}
