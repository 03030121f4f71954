"""Texts with slots, from which training examples for the name model are drawn.

Slots: ``{P}`` a person in any usual form, ``{N}`` given name and surname, ``{F}`` given name, ``{L}`` surname,
``{LF}`` surname, comma, given name, ``{T}`` a title that is no part of the name, ``{C}`` city, ``{K}`` country or
region, ``{A}`` street address, ``{O}`` organisation, ``{J}`` occupation, ``{V}`` a structured value that the
patterns hold (shown to the model as ``#``), ``{W}`` a number, ``{D}`` a decoy: a phrase with a word that could be a
name but is none here.
"""

PROMPTS = r"""
My name is {P}
my name is {P} and I need help with my account
Hi, I'm {F}. Can you help me write a cover letter?
i am {F} from {C}
Hello, this is {N}. I'm calling about invoice {W}.
hi its {P} from sales
hey it's {F} again
this is {P} from {O}, please reset my password
Sign the letter as {N}, {J}.
Write an email to {N} about the delayed shipment.
Draft a reply to {P} ({V}) declining the meeting politely.
Summarise the conversation between {N} and {N}.
Translate this message from {P} into German: "See you tomorrow"
Please rewrite: Dear {T} {L}, we regret to inform you that your application was rejected.
Dear {F},\n\nThank you for your order {W}. Your parcel will arrive in {C}.\n\nBest regards,\n{N}\n{O}
Dear {T} {L},\nI am writing on behalf of {N}.
Hi {F},\n\nCould you send me the slides?\n\nThanks,\n{F}
Write a birthday poem for my daughter {F} who turns {W}.
My wife {F} and our kids {F} and {F} are moving to {C}.
My boss {P} keeps asking for reports. How do I respond?
Compose a performance review for {N}, who works as {J} at {O}.
Extract all names from: {N}, {N} and {N} attended the meeting in {C}.
The patient {N}, born {V}, complains of chest pain.
Patient: {N}\nDOB: {V}\nMRN: {W}\nDiagnosis: hypertension
Patient {LF} was admitted on {V} by Dr. {L}.
Schedule a call with {N} at {V} for Monday.
Tell {F} that the meeting is moved to 3 pm.
Ask {F} or {F} whether the build is green.
Please add {N} as an authorised user on my account.
I want to transfer money to {N}, IBAN {V}.
The beneficiary is {N} and the account is {V}.
Cardholder: {N}, number {V}, expires 04/27
Can you check the status of the claim filed by {T} {N}?
Our tenant {N} at {A} hasn't paid rent.
Ship it to {N}, {A}, {C}, {K}.
Deliver to:\n{N}\n{A}\n{C}\n{K}
{N}\n{A}\n{C}, {K}\n{V}
Attn: {N}\n{O}\n{A}
Send the contract to {V} and cc {N}.
Contact {N} at {V} or call {V}.
You can reach {P} under {V}.
Call {F} on {V} after 5.
{N} <{V}> wrote:
From: {N} <{V}>\nTo: {N} <{V}>\nSubject: Re: quarterly numbers
On Mon, Jan 3, {N} wrote:\n> sounds good
Meeting notes: {F} will prepare the deck, {F} talks to {O}, {N} signs off.
Attendees: {N}, {N}, {N}
Participants: {F}, {F}, {F} and {F}
Reviewed-by: {N} <{V}>
Signed-off-by: {N} <{V}>
Co-authored-by: {N} <{V}>
Author: {N}\nDate: {V}
@author {N}
// TODO({U}): ask {F} about the cache
# written by {N}, {V}
The defendant, {T} {N}, was represented by {N}.
In the matter of {N} v. {O}, the court in {C} ruled for the plaintiff.
Witness {N} stated that {L} left the house at noon.
Interviewer: Tell me about yourself.\n{F}: I grew up in {C}.
{F}: are you there?\n{F}: yes, one sec
[10:32] {F}: did you push the fix?\n[10:33] {F}: not yet
<{F}> anyone in {C} today?
{N} joined the channel
{F} {L} has left the chat
User: who handles this?\nAgent: My colleague {N} does.
Agent: Thank you for contacting {O}, my name is {F}. How can I help?
Customer: {N}\nTicket: {W}\nIssue: cannot log in
Ticket #{W} opened by {N}: the app crashes on start
Reporter: {P}\nAssignee: {P}\nPriority: high
assigned to {F}, reported by {N}
{"name": "{N}", "email": "{V}", "city": "{C}"}
{"first_name": "{F}", "last_name": "{L}", "phone": "{V}"}
{"user": {"fullName": "{N}", "address": "{A}", "country": "{K}"}}
{'customer': '{N}', 'order_id': {W}, 'total': 12.5}
{"from":"{N}","to":"{N}","text":"see you in {C}"}
name,email,city\n{N},{V},{C}\n{N},{V},{C}
id;name;phone\n{W};{N};{V}\n{W};{N};{V}
| name | role |\n| --- | --- |\n| {N} | {J} |\n| {N} | {J} |
INSERT INTO users (name, email) VALUES ('{N}', '{V}');
SELECT * FROM customers WHERE name = '{N}';
UPDATE employees SET manager = '{N}' WHERE id = {W};
customer = Customer("{N}", "{V}")
user.name = "{F} {L}"
print("Hello {F}")
name: {N}\nemail: {V}\nrole: {J}
<name>{N}</name><city>{C}</city>
<li>{N}</li><li>{N}</li>
INFO login user={V} name="{N}" ip={V}
2024-03-01 12:00:01 WARN payment failed for {N} ({V})
Full name: {N}
Name: {LF}
NAME: {N}\nSSN: {V}
First name: {F}\nLast name: {L}
Surname: {L}\nGiven names: {F}
Passport of {N}, number {V}
Emergency contact: {N} (mother), {V}
Next of kin: {N}
Employee {N} (ID {W}) requests parental leave.
HR note: {N} reports that {F} was late again.
Candidate {N} has 5 years of experience at {O}.
CV\n{N}\n{A}, {C}\n{V}
References: {N}, {J}, {O}
{N} works as {J} for {O} in {C}.
{N}, {J} at {O}, said the market is stable.
"We are ready," said {N}, {J} of {O}.
{P} was born in {C} and moved to {K} in 1998.
{P} lives in {C}.
{F} is from {O}
I met {F} and {F} in {C} last summer.
My neighbour {P} plays the piano at night.
Is {N} still working with {O}?
What's the name on the account? {N}
The card belongs to {N}.
Can I speak to {P}?
Please forward this to {P} in accounting.
cc {F}, {F}
Thanks {F}!
Thank you, {F}. I will call {P}.
Regards,\n{P}
Cheers, {F}
Kind regards\n{N}\n{J}, {O}
XOXO {F}
-- \n{N}\nPhone: {V}
Sincerely yours,\n{T} {N}
who is {N}?
who is {F}
where does {N} live?
why is {F} so quiet today?
when is {F}'s birthday?
what did {P} say about the budget
{F}'s laptop is broken.
{N}'s account was locked.
It belongs to {L}'s team.
Give the keys to {F}, not to {F}.
{F}, can you look at this?
{F}: ok
@{F} please review
According to {L} et al., the effect is small.
{L} and {L} (2019) report similar results.
As {N} argues in the book, cities grow.
the novel by {N} was published in {K}
A song written by {N} and {N}
Prof. {L} teaches in {C}.
Dr. {N} will see you now.
{T} {L} is on vacation.
{T} {N} is the new director of {O}.
Ms. {L}-{L} called.
I, {N}, residing at {A}, {C}, hereby authorise {N} to collect my documents.
This agreement is between {N} ("Tenant") and {O} ("Landlord").
Power of attorney granted by {N} to {N}
Guests: {N} (vegan), {N}, {F} +1
Team: {F} (backend), {F} (frontend), {F} (design)
Room 12: {L}; room 14: {L}
Seat {W}A {LF}
Passenger {L}/{F} flight {W}
Booking for {N}, 2 nights in {C}
Winner: {N} ({K})
1. {N}\n2. {N}\n3. {N}
- {N}\n- {N}\n- {N}
* {N}, {C}\n* {N}, {C}
{N}; {N}; {N}
{N} / {N}
{N} ({V})
{N}, {V}
{N} - {V}
{N}|{V}|{C}
{N}\t{V}\t{C}
to {P}: call me
ping {F} when done
remind me to call {F} tomorrow
text {F} that I'm late
email {N} the invoice
set up a meeting with {F} and {N} on Friday
Is it OK if {F} joins us?
My son {F} has a fever, temperature {W}.
I'm {N}, {W} years old, from {C}, {K}.
I was treated by {N} in {C}.
My maiden name is {L}.
people call me {F}
everyone calls me {F}
she named him {F}
Her husband, {N}, died in {C}.
{N} married {N} in {C}.
{N} (born in {C}) is a {J}.
{F} {L} Jr. and {F} {L} III
Generate a LinkedIn post about my promotion. I am {N}, {J} at {O}.
Improve this sentence: {N} have went to {C} yesterday.
Fix grammar: me and {F} was at {O}
Classify the sentiment: "{F} was very helpful, the food was cold"
Write SQL to find orders of {N} from {C}
Anonymise this text: {N} lives at {A} and works for {O}.
""".strip().split("\n")

LOCALISED = r"""
de|Mein Name ist {P} und ich wohne in {C}.
de|Sehr geehrter Herr {L},\n\nvielen Dank für Ihre Anfrage.\n\nMit freundlichen Grüßen\n{N}
de|Sehr geehrte Frau {L}, anbei die Rechnung.
de|Hallo {F}, kannst du bitte {P} anrufen?
de|Ich heiße {N}, meine Adresse ist {A}, {C}.
de|Der Patient {N}, geb. {V}, wurde von Dr. {L} behandelt.
de|Kunde: {N}\nStraße: {A}\nOrt: {C}
de|Bitte überweisen Sie an {N}, IBAN {V}.
de|Ansprechpartner ist {T} {N}, Tel. {V}
de|{F} und {F} treffen sich in {C}.
de|Viele Grüße, {F}
fr|Je m'appelle {P} et j'habite à {C}.
fr|Bonjour {F}, peux-tu appeler {T} {L} ?
fr|Madame {L}, veuillez trouver ci-joint la facture.
fr|Cordialement,\n{N}\n{O}
fr|Le patient {N}, né le {V}, souffre de migraines.
fr|Client : {N}, adresse : {A}, {C}
fr|Mon collègue {P} est en vacances.
fr|Écris un courriel à {N} pour annuler la réunion.
fr|Nom : {L}\nPrénom : {F}
es|Me llamo {P} y vivo en {C}.
es|Hola {F}, ¿puedes llamar a {P}?
es|Estimado señor {L}: adjunto el contrato.
es|La paciente {N}, nacida el {V}, ingresó en {C}.
es|Soy {N}, mi teléfono es {V}.
es|Un saludo,\n{N}
es|El titular de la cuenta es {N}.
es|Nombre: {N}\nDirección: {A}\nCiudad: {C}
es|Escribe un correo a {N} sobre el pedido {W}.
it|Mi chiamo {P} e abito a {C}.
it|Gentile {T} {L}, in allegato la fattura.
it|Ciao {F}, puoi sentire {P}?
it|Il cliente {N} abita in {A}, {C}.
it|Cordiali saluti\n{N}
it|Nome: {F}\nCognome: {L}
pt|Meu nome é {P} e moro em {C}.
pt|Olá {F}, pode ligar para {P}?
pt|Prezado senhor {L}, segue o contrato.
pt|O paciente {N}, nascido em {V}, foi atendido.
pt|Atenciosamente,\n{N}
pt|Titular: {N}, CPF {V}
nl|Mijn naam is {P} en ik woon in {C}.
nl|Beste {F}, kun je {P} bellen?
nl|Geachte heer {L}, hierbij de factuur.
nl|Met vriendelijke groet,\n{N}
nl|De klant {N} woont op {A}.
sv|Jag heter {P} och bor i {C}.
sv|Hej {F}, kan du ringa {P}?
sv|Med vänliga hälsningar\n{N}
da|Mit navn er {P}, jeg bor i {C}.
da|Kære {F}, ring til {P}.
no|Jeg heter {P} og bor i {C}.
fi|Nimeni on {P} ja asun kaupungissa {C}.
fi|Terveisin {N}
pl|Nazywam się {P} i mieszkam w {C}.
pl|Szanowny Panie {L}, przesyłam fakturę.
pl|Pozdrawiam,\n{N}
pl|Klient: {N}, tel. {V}
cs|Jmenuji se {P} a bydlím v {C}.
cs|Dobrý den, tady {N}.
hu|A nevem {P}.
ro|Mă numesc {P} și locuiesc în {C}.
tr|Benim adım {P}, {C} şehrinde yaşıyorum.
tr|Sayın {L}, faturanız ektedir.
tr|Merhaba {F}, {P} aradı.
ru|Меня зовут {P}, я живу в городе {C}.
ru|Здравствуйте, {F}! Позвоните {P}.
ru|Клиент: {N}, телефон {V}
ru|С уважением, {N}
ru|Договор подписал {N}.
uk|Мене звати {P}, я з {C}.
uk|Клієнт {N}, телефон {V}
bg|Казвам се {P} и живея в {C}.
el|Με λένε {P} και μένω στην {C}.
el|Ο πελάτης {N} τηλεφώνησε.
he|שמי {P} ואני גר ב{C}
he|הלקוח {N} התקשר
ar|اسمي {P} وأعيش في {C}
ar|العميل {N} رقم الهاتف {V}
ar|مرحبا {F}، اتصل بـ {P}
fa|نام من {P} است
hi|मेरा नाम {P} है और मैं {C} में रहता हूँ।
hi|ग्राहक {N} ने फोन किया।
hi|नमस्ते {F}, कृपया {P} को बताएं
bn|আমার নাম {P}
ta|என் பெயர் {P}
ja|私の名前は{P}です。{C}に住んでいます。
ja|{L}さん、お世話になっております。
ja|担当者は{P}です。電話は{V}。
ja|お客様：{N}
ja|{N}様、ご注文ありがとうございます。
zh|我叫{P}，住在{C}。
zh|客户姓名：{N}，电话：{V}
zh|请联系{P}，谢谢。
zh|{N}先生您好，您的订单已发货。
zh|经理{N}同意了这个方案。
ko|제 이름은 {P}입니다.
ko|고객 {N}님, 주문해 주셔서 감사합니다.
ko|담당자: {N}, 전화 {V}
th|ผมชื่อ {P} ครับ
vi|Tôi tên là {P}, sống ở {C}.
vi|Khách hàng: {N}, điện thoại {V}
id|Nama saya {P}, tinggal di {C}.
id|Yth. Bapak {L}, terlampir faktur.
hr|Zovem se {P} i živim u {C}.
sl|Ime mi je {P}.
sk|Volám sa {P} a bývam v {C}.
lt|Mano vardas {P}.
lv|Mani sauc {P}.
et|Minu nimi on {P}.
is|Ég heiti {P}.
ka|მე მქვია {P}
hy|Իմ անունը {P} է
""".strip().split("\n")

NEGATIVES = r"""
What are my options?
How do I reset my password?
{D}
Explain {D} in simple terms.
What is {D}?
Can you compare {D} and {D}?
I read about {D} yesterday.
We use {D} in production.
Please implement {D} in Python.
The meeting is in {C} on Monday.
Write a short story about a dragon who learns to cook.
Translate "good morning" into French, Spanish and Japanese.
The flight from {C} to {C} takes two hours.
{O} announced record profits in {K}.
{O} and {O} signed an agreement.
Is {O} hiring in {C}?
Buy shares of {O} at 12.50
In March and April, sales in {K} grew by {W}%.
Will May be cold? It may rain in June.
Mark the task as done and rob the cache of its entries.
Bill the client for the art work; frank feedback is welcome.
Grant access to the hope diamond exhibit.
The chase was long, the rose garden bloomed, and the sky was gray.
Order {W} was shipped to {A}.
Restaurants near {A}, {C}?
The store at {A} closes at 8 pm.
Visit us at {A}, {C}, {K}.
def main():\n    print("hello world")\n    return 0
import numpy as np\nX = np.random.rand(10, 3)
class UserService:\n    def find_by_name(self, name: str) -> User: ...
SELECT name, email FROM users WHERE id = {W};
Traceback (most recent call last):\n  File "main.py", line {W}, in <module>\nKeyError: 'name'
{"status": "ok", "count": {W}, "items": []}
{"model": "gpt-4o", "temperature": 0.2, "messages": []}
docker run -p 8080:80 nginx:latest
git commit -m "Fix typo in README"
Step 1: preheat the oven. Step 2: mix flour and sugar.
You are a helpful assistant. Answer briefly and cite your sources.
Act as a Linux terminal. I will type commands.
Summarise the following article about climate policy in {K}.
Dear Customer, your order {W} has shipped.
Dear Sir or Madam, I am writing to complain.
Hello everyone, welcome to the team.
Hi there, quick question about billing.
Dear Hiring Manager,\nI am excited to apply for the position of {J}.
To whom it may concern
The Czech border and the Dutch coast attract German tourists.
She speaks English, Spanish and Mandarin.
The Great Gatsby is a novel; Hamlet is a play.
Happy Easter, Merry Christmas and a good New Year!
My {J} told me to drink more water.
I used to work for {O} as {J}.
The Sales Director and the Product Manager met the Head of Marketing.
CEO, CFO and CTO signed the Memorandum of Understanding.
Release notes: Python 3.12, Node 20, Debian Bookworm, Ubuntu Jammy
Kubernetes, Terraform, Jenkins and Grafana run on AWS.
Error 404: Not Found. Please Contact Support.
Terms of Service | Privacy Policy | Contact Us
keep <EMAIL_1> and [REDACTED] as they are, also <PERSON_2>.
[PERSON] met [PERSON] in [LOCATION].
Total: {W} EUR, VAT 19%
Q: What is the capital of {K}?\nA: {C}
Wie ist das Wetter in {C}?
Quelle est la capitale de {K} ?
¿Cuál es la capital de {K}?
Bitte senden Sie mir das Angebot für {D}.
今日の天気はどうですか。
请把这段话翻译成英文。
오늘 날씨가 어때요?
Напиши короткий рассказ о коте.
ما هي عاصمة {K}؟
""".strip().split("\n")

DECOYS = (
    """
Newton's method|the Fourier transform|Bayes' theorem|a Markov chain|Dijkstra's algorithm|the Gaussian distribution
Euler's formula|the Turing test|a Turing machine|Moore's law|Murphy's law|Occam's razor|the Riemann hypothesis
the Laplace transform|Parkinson's disease|Alzheimer's disease|Crohn's disease|Hodgkin lymphoma|the Doppler effect
the Kalman filter|Schrödinger's cat|Maxwell's equations|Planck's constant|the Higgs boson|Hilbert space
Boolean algebra|a Cartesian product|the Pythagorean theorem|Pascal's triangle|the Fibonacci sequence
Nash equilibrium|Pareto optimality|Madison Avenue|Wall Street|Fleet Street|Abbey Road|Lincoln Center
the Washington Monument|the Jordan river|Lake Victoria|Mount Everest|Victoria Falls|the Nobel Prize|the Fields Medal
the Pulitzer Prize|the Turing Award|Alexa|Siri|Cortana|Claude|Gemini|Llama|Mistral|Watson|Ada|Julia|Ruby|Pascal
Haskell|Java|Kotlin|Swift|Jenkins|Travis CI|Jasmine|Mercedes|Ford|Tesla|Chrysler|Ferrari|Porsche|Bentley|Lincoln
Cadillac|Chevrolet|Dodge|Bugatti|Morgan Stanley|JP Morgan|Goldman Sachs|Wells Fargo|Charles Schwab|Johnson & Johnson
Procter & Gamble|Ernst & Young|Ben & Jerry's|Marks & Spencer|McDonald's|Wendy's|Levi's|Macy's|Barnes & Noble
Hewlett Packard|Rolls-Royce|Harley-Davidson|Louis Vuitton|Calvin Klein|Ralph Lauren|Tommy Hilfiger|Hugo Boss
Giorgio Armani store|Jack Daniel's|Johnnie Walker|Dr Pepper|Uncle Ben's rice|Betty Crocker cake mix|Mary Jane shoes
Jolly Roger|Big Ben|Georgia|Virginia|Carolina|Florence|Paris|Sydney|Austin|Houston|Charlotte|Jackson, Mississippi
San Diego|San Francisco|Santa Monica|St. Petersburg|Saint Lucia|Jordan|Chad|Israel|Chelsea|Brooklyn|Savannah|Madison
Lincoln, Nebraska|Jefferson City|Victoria|Alexandria|Phoenix|Dakota|Cleveland|Stanford University
Johns Hopkins University|Harvard|Yale|Brown University|Duke|Rice University|Carnegie Mellon|the Max Planck Institute
Columbia|the Eiffel Tower|the Hubble telescope|a Bunsen burner|a Petri dish|a Molotov cocktail|a Caesar salad
Earl Grey tea|Eggs Benedict|Beef Wellington|an Achilles heel|a Trojan horse|Pandora's box|Black Friday|Good Friday
Valentine's Day|St. Patrick's Day|Martin Luther King Day|Labor Day|Christmas Eve|the Monte Carlo method
the Levenshtein distance|the Hamming code|Huffman coding|the Bernoulli trial|Student's t-test|the Mann-Whitney test
Cohen's kappa|the Adam optimizer|Xavier initialization|the Sobel operator|Gram-Schmidt|a Taylor series|Cramer's rule
the Hessian|the Jacobian|Lagrange multipliers|Simpson's paradox|the Peter principle|the Dunning-Kruger effect
Pavlovian conditioning|Freudian slips|Marxism|Keynesian economics|Darwinism|Victorian houses|a Ponzi scheme
the Richter scale|Celsius and Fahrenheit|Kelvin|Ohm's law|a Tesla coil|Faraday cage|the Bernoulli principle
Avogadro's number|May|June|April|August|January|Will|Mark|Grace|Hope|Faith|Joy|Bill|Grant|Frank|Chase|Rose|Iris
Violet|Olive|Pearl|Amber|Dawn|Summer|Autumn|Amazon Prime|Apple Music|Google Maps|Microsoft Teams|Microsoft Excel
Visual Studio Code|GitHub Copilot|Weights & Biases|Hugging Face|LangChain|LlamaIndex|PostgreSQL|MongoDB|Cassandra
Apache Kafka|Apache Spark|Delta Lake|Ray Serve|Azure Functions|Amazon Bedrock|Vertex AI|React Native|Ruby on Rails
Django|the White House|the Supreme Court|the European Union|the United Nations|the World Bank|Red Cross|Parliament
Congress|the Pentagon|Downing Street|Harry Potter and the Goblet of Fire|Romeo and Juliet|Moby Dick|Jane Eyre
David Copperfield|Forrest Gump|the Mona Lisa|Star Wars|The Lord of the Rings
""".strip()
    .replace("\n", "|")
    .split("|")
)
