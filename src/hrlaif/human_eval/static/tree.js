// Builds what the server rendered from a model's text. Nothing is parsed as HTML here: an element is one of these or it
// is text, and an attribute is one of these or it is left out.

const HTML = new Set(
  "p h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code hr table thead tbody tr th td em strong s br span".split(" "),
);
const MATHML = new Set(
  ("math mrow mi mn mo mtext mspace msup msub msubsup mfrac msqrt mroot munder mover munderover mtable mtr mtd mstyle " +
    "mpadded menclose").split(" "),
);
const CLASSES = new Set(["tex", "unseen", "address", "block"]);
const MATH_ATTRIBUTES = new Set(
  ("display mathvariant columnalign linethickness width linebreak notation stretchy fence accent movablelimits " +
    "displaystyle form minsize maxsize").split(" "),
);
const OWN_DIRECTION = new Set(["p", "h1", "h2", "h3", "h4", "h5", "h6", "li", "td", "th", "blockquote"]);
const MATHML_NAMESPACE = "http://www.w3.org/1998/Math/MathML";

export function fill(parent, nodes) {
  parent.replaceChildren(...nodes.map((node) => built(node)));
}

function built(node) {
  if (typeof node === "string") return document.createTextNode(node);
  const [tag, attributes, ...children] = node;
  const element = made(tag, attributes);
  if (element === null) return document.createTextNode(JSON.stringify(node));
  for (const child of children) element.append(built(child));
  return element;
}

function made(tag, attributes) {
  if (MATHML.has(tag)) {
    const element = document.createElementNS(MATHML_NAMESPACE, tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (MATH_ATTRIBUTES.has(name)) element.setAttribute(name, String(value));
    }
    return element;
  }
  if (!HTML.has(tag)) return null;
  const element = document.createElement(tag);
  if (CLASSES.has(attributes.class)) element.className = attributes.class;
  if (tag === "ol" && /^\d{1,6}$/.test(attributes.start ?? "")) element.start = Number(attributes.start);
  if (OWN_DIRECTION.has(tag)) element.dir = "auto";
  return element;
}
